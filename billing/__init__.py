"""The billing domain: money, usage, rating, wallets, invoices; no web, no scheduler, no screens."""
