"""Recent events and profiles of shoppers at serving time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.store.async_embedded import AsyncEmbeddedStore
from serving.store.async_online_store import AsyncOnlineStore
from serving.store.embedded import IN_MEMORY, EmbeddedStore
from serving.store.errors import StoreError
from serving.store.online_store import OnlineStore
from serving.store.options import StoreOptions

if TYPE_CHECKING:
    from serving.store.async_redis_store import AsyncRedisStore
    from serving.store.redis_store import RedisStore

_EXPECTED = "memory://, sqlite:///PATH, redis://HOST:PORT/DB or rediss://HOST:PORT/DB"

#: Seconds that Redis may take to be connected or to answer, unless the URL says other (`?socket_timeout=3`).
_TIMEOUT = 1.0


def open_store(url: str, options: StoreOptions | None = None) -> OnlineStore:
    """The store that a URL names.

    Args:
      url: `memory://`, `sqlite:///PATH` (four slashes for a path from the root) or `redis://...` as redis-py reads it,
        with user, password and options; `rediss://` for TLS.
      options: how much is kept, and how long.

    Raises:
      StoreError: for another URL, or a file that cannot be used. Redis is not connected before the first call.
    """
    if path := _path(url):
        return EmbeddedStore(path, options)
    return _redis_store(url, options)


def open_async_store(url: str, options: StoreOptions | None = None) -> AsyncOnlineStore:
    """The store that a URL names, for asyncio; arguments and errors are those of `open_store`."""
    if path := _path(url):
        return AsyncEmbeddedStore(EmbeddedStore(path, options))
    return _async_redis_store(url, options)


def _path(url: str) -> str:
    """The path of an embedded store; "" for Redis."""
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return IN_MEMORY
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return rest[1:]
    if scheme in ("redis", "rediss") and rest:
        return ""
    shown = f"{scheme if separator else ''}://..." if {"@", "?"} & {*url} else url  # a password is shown to nobody
    raise StoreError(f"the store of shoppers is {shown!r}; expected {_EXPECTED}.")


def _redis_store(url: str, options: StoreOptions | None) -> RedisStore:
    try:
        import redis

        from serving.store.redis_store import RedisStore
    except ImportError:
        raise StoreError("the Python package `redis` is not installed; expected `pip install redis`.") from None
    return RedisStore(_client(redis.Redis, redis.retry.Retry, url), options)


def _async_redis_store(url: str, options: StoreOptions | None) -> AsyncRedisStore:
    try:
        import redis.asyncio

        from serving.store.async_redis_store import AsyncRedisStore
    except ImportError:
        raise StoreError("the Python package `redis` is not installed; expected `pip install redis`.") from None
    return AsyncRedisStore(_client(redis.asyncio.Redis, redis.asyncio.retry.Retry, url), options)


def _client(kind: Any, retry: Any, url: str) -> Any:
    import redis
    from redis.backoff import NoBackoff

    # Every call may be sent again: it leaves the same behind.
    again = retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    try:
        client = kind.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=again)
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)  # unknown options
        return client
    except (TypeError, redis.RedisError) as error:
        raise StoreError(f"the URL of Redis cannot be read ({error}); expected {_EXPECTED}.") from None
    except ValueError:  # whose message may repeat a part of the password
        why = "bad host, port or option; a password has %2F for /, %3F for ?, %23 for # and %40 for @"
        raise StoreError(f"the URL of Redis cannot be read ({why}); expected {_EXPECTED}.") from None
