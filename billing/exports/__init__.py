"""Every list as a file for people: CSV, and XLSX."""
