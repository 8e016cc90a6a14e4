"""The ledger writer: moves each shard's journal from Redis into PostgreSQL."""
