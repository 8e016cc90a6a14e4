"""The assets, their checks, and what sets them in motion."""
