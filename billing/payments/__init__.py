"""Money that comes in through gateways, and what it pays."""
