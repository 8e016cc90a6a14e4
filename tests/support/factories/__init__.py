"""Rows with boring defaults, split by concept."""
