"""Which client opens the Redis that holds money: one server, or a cluster of them.

`redis://…` and `rediss://…` name a server, `redis+cluster://[user:password@]host:port,host:port`
(`rediss+cluster://` with TLS) some nodes of a cluster. All keys of a shard have one hash tag, so a
shard lies on one node, and whoever serves a single shard gets a plain client of that node: it is
told (MOVED, a `RedisError`) when the shard has gone elsewhere, fails when its one connection
breaks, and looks again when it is opened again. Only who asks for several shards follows the
cluster's map.
"""

from typing import Any, Final, cast
from urllib.parse import unquote

from redis import Redis, RedisCluster
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from billing.errors import UnavailableError
from billing.wallets.keys import ShardKeys

_SCHEMES: Final = {"redis+cluster://": False, "rediss+cluster://": True}
_PORT: Final = 6379


class _Cluster(RedisCluster):
    """A cluster whose failures are all of the kind that a single server has."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command where its keys are."""
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RedisClusterException as error:  # which is no RedisError
            raise RedisConnectionError(str(error)) from error


class _AsyncServer(AsyncRedis):
    """A server without blocking, whose failures are all `RedisError`s.

    uvloop says `RuntimeError` where asyncio says `ConnectionResetError`: when a connection is
    written to that broke just after it was made.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command."""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise RedisConnectionError(str(error)) from error


class _AsyncCluster(AsyncRedisCluster):
    """The same of a cluster."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command where its keys are."""
        try:
            return await super().execute_command(*args, **options)
        except (RedisClusterException, RuntimeError) as error:
            raise RedisConnectionError(str(error)) from error


def is_cluster(url: str) -> bool:
    """Whether this names nodes of a cluster."""
    return url.startswith(tuple(_SCHEMES))


def open_any(url: str, **options: Any) -> "Redis":
    """A client for all shards, which tells of a failure at once.

    Raises:
        UnavailableError: if the URL names no node.
        RedisError: if no node of the cluster answers.
    """
    if not is_cluster(url):
        return Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    nodes, login = _parse(url)
    try:
        found = _Cluster(
            startup_nodes=[
                ClusterNode(host, port)  # type: ignore[no-untyped-call]
                for host, port in nodes
            ],
            require_full_coverage=False,
            retry=Retry(NoBackoff(), 0),
            **login,
            **options,
        )
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error
    return cast("Redis", found)


def open_shard(url: str, shard: int, *, pinned: bool = False, **options: Any) -> "Redis":
    """A plain client of the server that has this shard.

    Args:
        pinned: one connection, made now; the client fails when it breaks.

    Raises:
        RedisError: if no node of the cluster answers.
    """
    if not is_cluster(url):
        return Redis.from_url(
            url, single_connection_client=pinned, retry=Retry(NoBackoff(), 0), **options
        )
    with open_any(url, **options) as every:
        cluster = cast("RedisCluster", every)
        try:
            node: Any = cluster.get_node_from_key(  # type: ignore[no-untyped-call]
                ShardKeys(shard, 0).epoch_key
            )
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
    if node is None:
        raise RedisConnectionError(f"no node of the cluster has shard {shard}")
    return Redis(
        host=node.host,
        port=node.port,
        single_connection_client=pinned,
        retry=Retry(NoBackoff(), 0),
        **_parse(url)[1],
        **options,
    )


def open_async(url: str, **options: Any) -> "AsyncRedis":
    """A client for all shards that does not block; it connects with its first command.

    Raises:
        UnavailableError: if the URL names no node.
    """
    retry = AsyncRetry(NoBackoff(), 0)
    if not is_cluster(url):
        return _AsyncServer.from_url(url, retry=retry, **options)
    nodes, login = _parse(url)
    found = _AsyncCluster(
        startup_nodes=[AsyncClusterNode(host, port) for host, port in nodes],
        require_full_coverage=False,
        retry=retry,
        # an intake sends many calls at once: a bound here would be an error, not a queue
        max_connections=2**31,
        **login,
        **options,
    )
    return cast("AsyncRedis", found)


def memory_info(redis: "Redis", shard: int) -> dict[str, Any]:
    """What the server of a shard says of its memory."""
    if not isinstance(redis, RedisCluster):
        return redis.info("memory")
    node = redis.get_node_from_key(ShardKeys(shard, 0).epoch_key)
    return cast("dict[str, Any]", redis.info("memory", target_nodes=node))


async def memory_info_async(redis: "AsyncRedis", shard: int) -> dict[str, Any]:
    """The same, without blocking."""
    if not isinstance(redis, AsyncRedisCluster):
        return await redis.info("memory")
    key = ShardKeys(shard, 0).epoch_key
    await redis.exists(key)  # learns the map if it is not known, or not any more
    node = redis.get_node_from_key(key)
    return cast("dict[str, Any]", await redis.info("memory", target_nodes=node))


def _parse(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Nodes, and what is needed to get in."""
    scheme = next(one for one in _SCHEMES if url.startswith(one))
    login: dict[str, Any] = {"ssl": True} if _SCHEMES[scheme] else {}
    who, at, where = url.removeprefix(scheme).partition("/")[0].rpartition("@")
    if at:
        user, _, password = who.partition(":")
        login |= {"username": unquote(user) or None, "password": unquote(password) or None}
    nodes = []
    for part in where.split(","):
        host, _, port = part.strip().rpartition(":") if ":" in part else (part.strip(), "", "")
        if not host or not (port or str(_PORT)).isdigit():
            raise UnavailableError(
                "REDIS_URL names no node of a cluster: write redis+cluster://host:port,host:port.",
                code="redis_url_invalid",
            )
        nodes.append((host, int(port or _PORT)))
    return nodes, login
