"""Documents: drafts from rated lines, issue with number and snapshot, PDFs."""
