"""Other prices tried on the usage that was billed."""
