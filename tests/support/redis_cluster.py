"""Three nodes of a cluster on loopback, with the settings of the embedded stack and no replicas."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.crc import key_slot

from billing.stack import ports
from billing.stack.process import wait_until
from billing.stack.redis import EmbeddedRedis

_SLOTS = 16384
_BUS = 10_000
"""A node listens for the others at its port and so much more."""
_LAST_PORT = 65535


class ClusterOfThree:
    """Nodes that share the slots evenly; each can be stopped and started again by itself."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [
            EmbeddedRedis(
                folder / f"node{number}",
                port,
                settings={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": "1000",
                    # a node that is away takes its own shards with it, and no others
                    "cluster-require-full-coverage": "no",
                },
            )
            for number, port in enumerate(_three_ports())
        ]

    @property
    def url(self) -> str:
        """How to reach the cluster."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.nodes)

    def start(self) -> None:
        """Start the nodes and give them their slots."""
        for one in self.nodes:
            one.start()
        clients = [redis.Redis(port=one.port, decode_responses=True) for one in self.nodes]
        for number, client in enumerate(clients):
            first, last = _SLOTS * number // 3, _SLOTS * (number + 1) // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for one in self.nodes[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", one.port)

        def is_whole() -> bool:
            return all(
                info["cluster_state"] == "ok"
                and info["cluster_known_nodes"] == "3"
                and info["cluster_slots_ok"] == str(_SLOTS)
                for info in (client.execute_command("CLUSTER INFO") for client in clients)
            )

        assert wait_until(is_whole, 20)
        for client in clients:
            client.close()

    def stop(self) -> None:
        """Stop all nodes."""
        for one in self.nodes:
            one.stop()

    def empty(self) -> None:
        """Forget all keys and scripts."""
        for one in self.nodes:
            with redis.Redis(port=one.port) as client:
                client.flushall()
                client.script_flush()

    def node_of(self, key: str) -> EmbeddedRedis:
        """Where a key lies."""
        slot = key_slot(key.encode())
        number = next(n for n in range(3) if slot < _SLOTS * (n + 1) // 3)
        return self.nodes[number]


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[ClusterOfThree]:
    """A cluster for the length of a `with` block."""
    cluster = ClusterOfThree(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _three_ports() -> list[int]:
    """Ports whose bus ports are ports, and free as well."""
    found: list[int] = []
    while len(found) < 3:
        port = ports.any_free()
        if port in found:
            continue
        if port + _BUS > _LAST_PORT:
            port -= _BUS
        with contextlib.suppress(OSError), socket.socket() as own, socket.socket() as bus:
            own.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + _BUS))
            found.append(port)
    return found
