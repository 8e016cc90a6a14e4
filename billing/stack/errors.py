"""What can go wrong around the embedded stack, as one sentence a person can act on."""

from billing.errors import UnavailableError


class StackError(UnavailableError):
    """An expected failure of starting or stopping a server on this machine."""

    code = "stack"
