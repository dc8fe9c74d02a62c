"""Files on S3 and what speaks its protocol, through `pyarrow.fs`: one PUT a file, and leases for locks.

A PUT shows its object whole or not at all. What is too large for one PUT is sent under a temporary name and copied by
the object store: a multipart upload that fails half-way is completed by pyarrow with the parts that it has.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from workers.files import LOCK, StoreError
from workers.lease import LEASE_SECONDS, LEAST_LEASE_SECONDS, Leases, elapsed, stated_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from workers.lease import Beat, Lease

SINGLE_PUT_BYTES = 8 * 2**20
"""Below this pyarrow sends one PUT."""
CONNECT_SECONDS, ANSWER_SECONDS, TRIES = 5.0, 10.0, 4
"""What is not answered in time, and each error that may pass, is tried again: a dead server costs two minutes."""
LEASE_ANSWER_SHARE = 12
"""A heartbeat that takes longer than this part of a lease is given up, and the next one is tried."""
READ_TRIES = 20
PARALLEL_READS = 16
_OPTIONS = ("endpoint_override", "scheme", "region", "lease_seconds")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,253}[a-z0-9]", re.IGNORECASE)
_ENDPOINT = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]+)?")
_MISSING_BUCKET = re.compile(r"NO_SUCH_BUCKET|bucket .* (does not exist|not found)|NoSuchBucket", re.IGNORECASE)
_OTHER_SIZE = re.compile("HTTP status 416|INVALID_RANGE|INTERNAL_FAILURE|flush response stream", re.IGNORECASE)
"""How pyarrow and its SDK put it that an answer is longer or shorter than was asked for."""
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws"


@dataclass(frozen=True)
class ObjectPlace:
    """A bucket and a prefix in it, and how its server is reached. Holds no credentials."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    scheme: str = "https"
    region: str | None = None
    lease_seconds: float = LEASE_SECONDS

    @classmethod
    def from_url(cls, url: str) -> ObjectPlace:
        """Return the place of an `s3://bucket/prefix?option=value` URL. Raises StoreError where it is not one."""
        parts = urlsplit(url)
        # No message repeats the URL: it may hold a password.
        if "@" in parts.netloc:
            raise StoreError(f"a URL with credentials is refused, for it ends up in logs; {_CREDENTIALS}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = next((name for name in options if name not in _OPTIONS), None)
        if unknown is not None:
            raise StoreError(f"no option {unknown!r} in an s3 URL; there are {', '.join(_OPTIONS)}")
        if parts.fragment or not _BUCKET.fullmatch(parts.netloc):
            raise StoreError(f"no bucket's name in {_shown(parts.netloc)}; write s3://bucket/prefix")
        prefix = parts.path.strip("/")
        if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
            raise StoreError(f"{prefix!r} is not a prefix; write s3://bucket/prefix, without '.' and '..'")
        return cls(
            parts.netloc,
            prefix,
            endpoint=_checked("endpoint_override", options, _ENDPOINT, "host or host:port"),
            scheme=_checked("scheme", options, re.compile("https?"), "http or https") or "https",
            region=_checked("region", options, re.compile("[A-Za-z0-9-]+"), "a region, such as eu-central-1"),
            lease_seconds=_lease_seconds(options),
        )

    def __str__(self) -> str:
        options = {
            "endpoint_override": self.endpoint,
            "scheme": None if self.scheme == "https" else self.scheme,
            "region": self.region,
            "lease_seconds": None if self.lease_seconds == LEASE_SECONDS else f"{self.lease_seconds:g}",
        }
        query = urlencode({name: value for name, value in options.items() if value is not None}, safe=":[]")
        return self.of("") + (f"?{query}" if query else "")

    def of(self, name: str) -> str:
        """Return an object's URL, for people."""
        return "s3://" + "/".join(part for part in (self.bucket, self.prefix, name) if part)

    def key(self, name: str) -> str:
        """Return an object's path as pyarrow takes it."""
        return self.of(name).removeprefix("s3://")


class ObjectFiles:
    """Objects below a prefix, as files."""

    readers = PARALLEL_READS

    def __init__(
        self, where: ObjectPlace, *, now: Callable[[], float] = time.time, clock: Callable[[], float] = elapsed
    ) -> None:
        self.where = where
        self._now = now
        self._clock = clock
        self._leases: dict[str, Leases] = {}

    def __str__(self) -> str:
        return str(self.where)

    @property
    def lock_seconds(self) -> float:
        """How long a lease may outlive its holder."""
        return self.where.lease_seconds

    def place(self, name: str) -> str:
        """Return the object's URL."""
        return self.where.of(name)

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, or None where there is none: all of one version, also while it is replaced."""
        key, before = self.where.key(name), None
        with _told(self.place(name)):
            for _ in range(READ_TRIES):
                version = self._read_version(key)
                if version is None:
                    return None
                tag, content = version
                is_whole = tag == hashlib.md5(content, usedforsecurity=False).hexdigest()
                # Encryption makes other tags than the MD5; there the same version must come twice.
                if is_whole or (tag and version == before):
                    return content
                before = version
        raise StoreError(
            f"store: {self.place(name)} could not be read whole in {READ_TRIES} tries, for it was replaced each time; "
            "try again"
        )

    def _read_version(self, key: str) -> tuple[str, bytes] | None:
        """Return an object's tag, and bytes that are not that version's where it was replaced meanwhile.

        pyarrow asks for tag and size first, and then for so many bytes. No tag: they did not come at all.
        """
        tag = ""
        try:
            with self._client.open_input_stream(key) as stream:
                tag = _tag(stream.metadata())
                return tag, bytes(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            if tag and _OTHER_SIZE.search(str(error)):
                return "", b""
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write one object: readers see what was there before or all of the new bytes."""
        with _told(self.place(name)):
            if len(content) < SINGLE_PUT_BYTES:
                _put(self._client, self.where.key(name), content)
            else:
                self._write_staged(self.where.key(name), content)

    def _write_staged(self, key: str, content: bytes) -> None:
        folder, _, last = key.rpartition("/")
        staged = f"{folder}/.{last}.{secrets.token_hex(4)}.tmp"
        try:
            _put(self._client, staged, content)
            self._client.copy_file(staged, key)
        finally:
            with contextlib.suppress(OSError):
                self._client.delete_file(staged)

    def remove(self, name: str) -> None:
        """Remove an object if it is there."""
        with _told(self.place(name)), contextlib.suppress(FileNotFoundError):
            self._client.delete_file(self.where.key(name))

    def names(self, folder: str, pattern: str) -> list[str]:
        """Return the names below a folder that match a glob pattern, from one listing."""
        literal, _, rest = pattern.rpartition("/")
        while any(sign in literal for sign in "*?["):
            literal, _, last = literal.rpartition("/")
            rest = f"{last}/{rest}"
        inside = _joined(folder, literal)
        found = self._listed(inside, recursive="/" in rest)
        return [_joined(literal, name) for name in found if _matches(name, rest)]

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        return [info.base_name for info in self._infos(folder, recursive=False) if not info.is_file]

    def sizes(self, folder: str, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the objects that are there, from one listing."""
        wanted = set(names)
        return {name: info.size for name, info in self._listed(folder, recursive=True).items() if name in wanted}

    def exists(self, folder: str) -> bool:
        """Whether some object lies below the folder."""
        return bool(self._listed(folder, recursive=True))

    def remove_unfinished(self, folder: str) -> None:
        """Remove the temporary objects of killed writers."""
        for name in self._listed(folder, recursive=True):
            if fnmatch.fnmatchcase(name.rpartition("/")[2], ".*.tmp"):
                self.remove(_joined(folder, name))

    def try_lock(self, folder: str) -> contextlib.AbstractContextManager[Lease | None]:
        """Hold a folder's lease for the block; None where another process holds it."""
        return self._leases_on(folder).try_hold()

    def holder_lives(self, folder: str) -> bool:
        """Whether a heartbeat came since this process first asked for the folder's lease."""
        return self._leases_on(folder).beat_seen

    def is_locked(self, folder: str) -> bool:
        """Whether a lease was renewed lately, by this machine's clock: for display, and nothing is decided by it."""
        listed = self._listed(_joined(folder, LOCK), recursive=False)
        return any(self._now() - info.mtime_ns / 1e9 < stated_seconds(name) for name, info in listed.items())

    def _leases_on(self, folder: str) -> Leases:
        # Kept, because a dead holder is known by what was seen of it before.
        name = _joined(folder, LOCK)
        # A client that waits no longer than a heartbeat may.
        candidates = _LeaseObjects(self.place(name), self.where.key(name), lambda: self._lease_client)
        return self._leases.setdefault(folder, Leases(candidates, self.where.lease_seconds, self._clock))

    def _listed(self, folder: str, *, recursive: bool) -> dict[str, Any]:
        """Return what pyarrow says of each object below a folder, by its name relative to it."""
        start = len(self.where.key(folder)) + 1
        return {info.path[start:]: info for info in self._infos(folder, recursive=recursive) if info.is_file}

    def _infos(self, folder: str, *, recursive: bool) -> list[Any]:
        with _told(self.place(folder)):
            return _list(self._client, self.where.key(folder), recursive=recursive)

    @functools.cached_property
    def _client(self) -> Any:
        return self._connect(ANSWER_SECONDS, TRIES)

    @functools.cached_property
    def _lease_client(self) -> Any:
        return self._connect(max(1.0, self.where.lease_seconds / LEASE_ANSWER_SHARE), 1)

    def _connect(self, answer_seconds: float, tries: int) -> Any:
        from pyarrow import fs  # its import takes a while, and stores on disks do without

        return fs.S3FileSystem(
            endpoint_override=self.where.endpoint,
            scheme=self.where.scheme,
            region=self._region(),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=answer_seconds,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=tries),
            # Small files are one PUT, and errors come from the call that makes them.
            allow_delayed_open=True,
            background_writes=False,
        )

    def _region(self) -> str:
        from pyarrow import fs

        if self.where.region is not None:
            return self.where.region
        # Servers other than Amazon's ignore it, and asking for it takes a while where there is nobody to ask.
        return "us-east-1" if self.where.endpoint else fs.resolve_s3_region(self.where.bucket)


class _LeaseObjects:
    """`workers.lease.Candidates` as objects below one folder."""

    def __init__(self, place: str, key: str, client: Callable[[], Any]) -> None:
        self._place = place
        self._key = key
        self._client = client

    def beats(self) -> Mapping[str, Beat]:
        with _told(self._place):
            infos = _list(self._client(), self._key, recursive=False)
        return {info.base_name: (info.mtime_ns, info.size) for info in infos if info.is_file}

    def put(self, name: str, content: bytes) -> None:
        with _told(self._place):
            _put(self._client(), f"{self._key}/{name}", content)

    def remove(self, name: str) -> None:
        with _told(self._place), contextlib.suppress(FileNotFoundError):
            self._client().delete_file(f"{self._key}/{name}")


@contextlib.contextmanager
def _told(place: str) -> Iterator[None]:
    """Raise what pyarrow raises as a StoreError that names the object, the cause and the next step."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"store: cannot use {place}: {_cause(str(error))}") from error


def _put(client: Any, key: str, content: bytes) -> None:
    stream = client.open_output_stream(key)
    try:
        stream.write(content)
        stream.close()
    finally:
        # When pyarrow drops a stream that failed, it still ends the upload: that must not happen later than here.
        del stream


def _list(client: Any, key: str, *, recursive: bool) -> list[Any]:
    from pyarrow import fs

    found: list[Any] = client.get_file_info(fs.FileSelector(key, recursive=recursive, allow_not_found=True))
    return found


def _tag(metadata: Mapping[Any, Any]) -> str:
    found = {str(name, "ascii") if isinstance(name, bytes) else name: value for name, value in metadata.items()}
    value = found.get("ETag", b"")
    return (str(value, "ascii") if isinstance(value, bytes) else value).strip('"')


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _checked(name: str, options: Mapping[str, str], pattern: re.Pattern[str], wanted: str) -> str | None:
    value = options.get(name)
    if value is not None and not pattern.fullmatch(value):
        raise StoreError(f"{name} in the s3 URL must be {wanted}")
    return value


def _lease_seconds(options: Mapping[str, str]) -> float:
    stated = _checked("lease_seconds", options, re.compile(r"[0-9]+(\.[0-9]+)?"), "a number of seconds")
    seconds = float(stated or LEASE_SECONDS)
    if seconds < LEAST_LEASE_SECONDS:
        raise StoreError(f"lease_seconds in the s3 URL must be {LEAST_LEASE_SECONDS:g} or more")
    return seconds


def _shown(netloc: str) -> str:
    return repr(quote(netloc)) if netloc else "the s3 URL"


def _cause(message: str) -> str:
    if _MISSING_BUCKET.search(message):
        return "there is no such bucket; make it, or choose another place with --store"
    if re.search(r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|HTTP status 40[13]", message):
        return f"access is denied; {_CREDENTIALS}, and check what they may do in the bucket"
    if "NETWORK_CONNECTION" in message:
        return f"its server does not answer ({_shortened(message)}); check the network and endpoint_override"
    return f"{_shortened(message)}; try again, or choose another place with --store"


def _shortened(message: str) -> str:
    # The first sentence repeats which object it was.
    return (message.partition("AWS Error ")[2] or message).partition("\n")[0][:200].rstrip(". ")
