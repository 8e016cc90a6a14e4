"""`make bench-intake`: the figures of the intake path, measured from outside, with their checks."""
