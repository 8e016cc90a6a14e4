"""Payment gateways: one small protocol, one module each."""
