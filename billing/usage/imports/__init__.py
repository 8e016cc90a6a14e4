"""Bringing in events from files, through the same door as everybody else's."""
