"""The hot path: taking in usage events and answering authorisations, many per call of Redis."""
