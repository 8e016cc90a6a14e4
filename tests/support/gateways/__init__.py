"""Payment gateways as they behave: local servers for the real SDKs to talk to."""
