"""E-invoices: INV-01 payloads, their shape, the portal's signatures, registration, cancellation."""
