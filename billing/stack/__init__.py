"""The embedded stack: PostgreSQL, Redis and every process of ours, watched from one place."""
