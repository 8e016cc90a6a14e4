"""Rate limits: counted in a Redis of their own, apart from the one that holds money."""
