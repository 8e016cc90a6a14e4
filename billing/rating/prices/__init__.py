"""One module for each price model."""
