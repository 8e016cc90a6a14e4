"""Everything the console reads, as bound SQL; nothing here writes."""
