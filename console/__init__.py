"""The console: what finance, product and customers see of billing in a browser."""
