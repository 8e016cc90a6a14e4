"""The HTTP door: intake and the wallet path, and every resource over REST."""
