"""Paths of data: local ones are `pathlib`'s, those with a scheme (gs://...) are read through TensorFlow.

TensorFlow is imported by the first path that has a scheme, since that takes seconds.
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import io
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_BUFFER_BYTES = 1 << 18
_T = TypeVar("_T")


class Stat(NamedTuple):
    """What is known of a remote file, under the names of `os.stat_result`."""

    st_size: int
    st_mtime_ns: int


@functools.total_ordering
class RemotePath:
    """A path with a scheme, on any file system that TensorFlow knows: the part of `pathlib.Path` that reading needs.

    Paths are ordered by their parts, and `glob` knows `*`, `?`, `[...]` and `**`, as in pathlib. Whatever TensorFlow
    raises becomes an `OSError` with one line.

    Args:
      text: such as gs://BUCKET/tables.

    Example:
      >>> RemotePath("gs://bucket/tables/") / "events.csv"
      RemotePath('gs://bucket/tables/events.csv')
    """

    def __init__(self, text: str) -> None:
        self._text = text if text.endswith("://") else text.rstrip("/")

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"RemotePath({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._text == other._text

    def __lt__(self, other: RemotePath) -> bool:
        return self._text.split("/") < other._text.split("/")

    def __hash__(self) -> int:
        return hash(self._text)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self._text}{'' if self._text.endswith('/') else '/'}{name}")

    @property
    def name(self) -> str:
        return self._text.partition("://")[2].rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        scheme, _, rest = self._text.partition("://")
        return RemotePath(f"{scheme}://{rest.rpartition('/')[0]}")

    def with_name(self, name: str) -> RemotePath:
        return self.parent / name

    def exists(self) -> bool:
        return self._found() is not None

    def is_dir(self) -> bool:
        found = self._found()
        return found is not None and found.is_directory

    def is_file(self) -> bool:
        found = self._found()
        return found is not None and not found.is_directory

    def stat(self) -> Stat:
        found = self._found()
        if found is None:
            raise self._error(errno.ENOENT)
        return Stat(found.length, found.mtime_nsec)

    def iterdir(self) -> Iterator[RemotePath]:
        # Object stores end the name of a folder with "/", and may list the folder itself as "".
        names = {name.strip("/") for name in _call(self, _gfile().listdir, self._text)}
        return (self / name for name in sorted(names - {""}))

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if not parts:
            raise ValueError(f"Unacceptable pattern: {pattern!r}")
        if any("**" in part and part != "**" for part in parts):
            raise ValueError("Invalid pattern: '**' can only be an entire path component")
        return iter(dict.fromkeys(self._matches(parts)))

    def mkdir(self, parents: Literal[True], exist_ok: Literal[True]) -> None:
        _call(self, _gfile().makedirs, self._text)

    def rename(self, target: str) -> RemotePath:
        """Replaces the target if it is there."""
        _call(self, _gfile().rename, self._text, target, True)
        return RemotePath(target)

    def open(self, mode: str, buffering: int = _BUFFER_BYTES) -> BinaryIO:
        """A stream of bytes: "rb" to read (seekable), "wb" to write."""
        if mode == "wb":
            return io.BufferedWriter(_Writing(self), buffering)
        if mode != "rb":
            raise ValueError(f"mode is {mode!r}; expected 'rb' or 'wb'.")
        found = self._found()
        if found is None or found.is_directory:
            raise self._error(errno.ENOENT if found is None else errno.EISDIR)
        return io.BufferedReader(_Reading(self, found.length), buffering)

    def _found(self) -> Any:
        try:
            return _call(self, _gfile().stat, self._text)
        except FileNotFoundError:
            return None

    def _matches(self, parts: list[str]) -> Iterator[RemotePath]:
        first, *rest = parts
        if first == "**":
            below = list(self._folders())
            yield from (path for folder in below for path in (folder._matches(rest) if rest else [folder]))
            return
        if re.search(r"[*?\[]", first):
            found = [path for path in self._children() if fnmatch.fnmatchcase(path.name, first)]
        else:
            found = [self / first]
        for path in found:
            if not rest:
                if path.exists():
                    yield path
            elif path.is_dir():
                yield from path._matches(rest)

    def _folders(self) -> Iterator[RemotePath]:
        yield self
        for path in self._children():
            if path.is_dir():
                yield from path._folders()

    def _children(self) -> list[RemotePath]:
        return list(self.iterdir()) if self.is_dir() else []

    def _error(self, number: int) -> OSError:
        return OSError(number, os.strerror(number), self._text)


#: A file or folder of the data.
Path = pathlib.Path | RemotePath


def path_of(path: str | Path) -> Path:
    """A path as its kind: `RemotePath` with a scheme, else `pathlib.Path`."""
    if isinstance(path, str):
        return RemotePath(path) if _SCHEME.match(path) else pathlib.Path(path)
    return path


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


def _call(path: RemotePath, function: Callable[..., _T], *arguments: Any) -> _T:
    import tensorflow as tf

    try:
        return function(*arguments)
    except tf.errors.NotFoundError:
        raise path._error(errno.ENOENT) from None
    except tf.errors.OpError as error:
        said = str(error.message).strip().splitlines() or [type(error).__name__]
        raise OSError(errno.EIO, said[0].rstrip("."), str(path)) from None


class _Reading(io.RawIOBase):
    def __init__(self, path: RemotePath, size: int) -> None:
        self._path, self._size, self._at = path, size, 0
        self._file = _gfile().GFile(str(path), "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = _call(self._path, self._file.read, len(buffer))
        self._at += len(content)
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        at = origin + offset
        if at < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(self._path))
        self._at = min(at, self._size)
        _call(self._path, self._file.seek, self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            _call(self._path, self._file.close)
        super().close()


class _Writing(io.RawIOBase):
    def __init__(self, path: RemotePath) -> None:
        self._path = path
        self._file = _gfile().GFile(str(path), "wb")
        _call(path, self._file.write, b"")  # opens it, so that an unwritable place is said here

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        _call(self._path, self._file.write, bytes(content))
        return len(content)

    def close(self) -> None:
        if not self.closed:
            _call(self._path, self._file.close)
        super().close()
