"""Rating in pure Python: the twin of the SQL rating of record, for wallets and previews."""
