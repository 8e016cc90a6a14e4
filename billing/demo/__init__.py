"""Made-up merchants and three months of their traffic, sent through the front door."""
