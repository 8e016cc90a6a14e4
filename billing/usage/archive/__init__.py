"""Closed months of events as Parquet files, and back again."""
