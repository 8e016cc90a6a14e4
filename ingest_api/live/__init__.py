"""`WS /api/v1/live`: balances and usage as they change."""
