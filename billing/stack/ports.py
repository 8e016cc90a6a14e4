"""TCP ports on the loopback interface."""

import errno
import socket

from billing.stack.errors import StackError

LOOPBACK = "127.0.0.1"
_NEXT_PORTS = 100


def is_free(port: int) -> bool:
    """Whether a server could listen here now.

    Raises:
        StackError: if this user may not listen on that port at all.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise StackError(f"Port {port} cannot be used: {error.strerror}.") from error
    return True


def any_free() -> int:
    """A free port chosen by the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, what: str, how_to_change: str) -> None:
    """Refuse to start on a port that somebody else listens on.

    Raises:
        StackError: naming the port and the way to choose another.
    """
    if not is_free(port):
        raise StackError(f"Port {port} for {what} is in use: {how_to_change}.")


def first_free(wanted: int, taken: set[int]) -> int:
    """The wanted port or the next one that is free and not already promised to a neighbour.

    Raises:
        StackError: if none of the next hundred is.
    """
    for port in range(wanted, wanted + _NEXT_PORTS):
        if port not in taken and is_free(port):
            return port
    raise StackError(f"No port from {wanted} to {wanted + _NEXT_PORTS - 1} is free.")
