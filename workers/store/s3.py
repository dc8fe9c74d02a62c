"""Files on S3 and on servers of its protocol, through `obstore`: whole objects, and leases for locks.

A write shows its object whole or not at all, whatever its size, and a read returns one version of it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import re
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from workers.store.files import LOCK, StoreError
from workers.store.lease import Leases, Version
from workers.store.s3_url import SET_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from obstore import ObjectMeta
    from obstore.store import S3CredentialProvider

    from workers.store.lease import Lease
    from workers.store.s3_url import ObjectPlace

PART_BYTES, PARALLEL_PARTS = 5 * 2**20, 4
"""A larger file is sent in parts, and appears when all of them have arrived."""
CONNECT_SECONDS, ANSWER_SECONDS, TRIES = 5.0, 30.0, 4
"""A request that is not answered in time, or fails for the moment, is repeated: a dead server costs two minutes."""
TRANSFER_ANSWERS = 20
"""How many times ANSWER_SECONDS an answer may take to arrive; the rest of a longer one is requested again."""
LEASE_ANSWER_SHARE = 12
"""A renewal that takes longer than this part of a lease is given up, and the next one is tried."""
CREDENTIALS_KEPT = timedelta(minutes=10)
"""The credentials of a role are renewed a quarter of an hour before they expire, so these are valid for as long."""
PARALLEL_READS = 16
_CODE = re.compile(r"<Code>(\w+)</Code>")
"""What S3's protocol calls an error; obstore has it in the text of its exceptions only."""
_ACCESS_CODES = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


class ObjectFiles:
    """Objects below a prefix, as files."""

    readers = PARALLEL_READS

    def __init__(
        self,
        where: ObjectPlace,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        tries: int = TRIES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.where = where
        self._answer_seconds = answer_seconds
        self._tries = tries
        self._now = now
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
        found = self.read_version(name)
        return found.content if found else None

    def read_version(self, name: str) -> Version | None:
        """Return an object's current version, or None where there is none."""
        with self._store_errors(name):
            try:
                found = obstore.get(self._client, name)
                return Version(found.meta["e_tag"] or "", bytes(found.bytes()))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write one object: readers see what was there before or all of the new bytes."""
        with self._store_errors(name):
            obstore.put(self._client, name, content, chunk_size=PART_BYTES, max_concurrency=PARALLEL_PARTS)

    def write_over(self, name: str, content: bytes, before: Version | None) -> bool:
        """Write an object if this is its current version (None: there is none); return whether it was."""
        with self._store_errors(name):
            try:
                self._repeat(obstore.put, name, content, mode={"e_tag": before.tag} if before else "create")
            except (AlreadyExistsError, PreconditionError):
                return self.read(name) == content  # where the answer to an earlier try was lost
        return True

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write files that belong together, one after the other: an object store has no common end of writes."""
        for name, content in contents.items():
            self.write(name, content)

    def write_if(self, name: str, content: bytes, condition: Callable[[], bool]) -> bool:
        """Write one object over the version that was there before the condition was checked, if it is true."""
        while True:
            before = self.read_version(name)
            if not condition():
                return False
            if self.write_over(name, content, before):
                return True

    def remove(self, name: str) -> None:
        """Remove an object if it is there."""
        with self._store_errors(name):
            self._repeat(obstore.delete, name)

    def names(self, folder: str, pattern: str) -> list[str]:
        """Return the names below a folder that match a glob pattern, from one listing."""
        literal, _, rest = pattern.rpartition("/")
        while any(sign in literal for sign in "*?["):
            literal, _, last = literal.rpartition("/")
            rest = f"{last}/{rest}"
        found = self._listed(_joined(folder, literal), recursive="/" in rest)
        return [_joined(literal, name) for name in found if _matches(name, rest)]

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        with self._store_errors(folder):
            found = obstore.list_with_delimiter(self._client, folder or None)
        return [path.rpartition("/")[2] for path in found["common_prefixes"]]

    def sizes(self, folder: str, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the objects that are there, from one listing."""
        wanted = set(names)
        return {name: each["size"] for name, each in self._listed(folder).items() if name in wanted}

    def exists(self, folder: str) -> bool:
        """Whether there is an object below the folder."""
        return bool(self._listed(folder))

    def unfinished(self, folder: str, older_than: float = 0.0) -> list[str]:  # noqa: ARG002 (a disk has some)
        """Return nothing: an upload that was cut off is no object."""
        return []

    def try_lock(self, folder: str) -> contextlib.AbstractContextManager[Lease | None]:
        """Acquire a folder's lease for the block; None where another process has it."""
        return self._leases_on(folder).try_acquire()

    def holder_lives(self, folder: str) -> bool:
        """Whether the lease was renewed since this process first asked for it."""
        return self._leases_on(folder).renewal_seen

    def is_locked(self, folder: str) -> bool:
        """Whether a lease was renewed lately, by this machine's clock: for display, and nothing is decided by it."""
        since = self._now() - self.lock_seconds
        leases = self._listed(_joined(folder, LOCK)).values()
        return any(each["size"] > 0 and each["last_modified"].timestamp() > since for each in leases)

    def check_lockable(self) -> None:
        """Raise StoreError where the server does not honour the conditions of writes."""
        name, cause = f".probe.{secrets.token_hex(4)}.tmp", "it ignores them"
        try:
            self.write_over(name, b"1", None)
            first = self.read_version(name)
            is_replaced = self.write_over(name, b"2", first)
            if is_replaced and not (self.write_over(name, b"3", first) or self.write_over(name, b"4", None)):
                return
        except StoreError as error:
            cause = str(error)
        finally:
            self.remove(name)
        raise StoreError(
            f"store: the server of {self} does not support conditional writes (If-None-Match, If-Match), which locks "
            f"need: {cause}; update it, or choose another server or a folder with --store"
        )

    def _leases_on(self, folder: str) -> Leases:
        # Kept, because a dead holder is recognised by earlier observations.
        lease = Leases(self._lease_files, _joined(folder, f"{LOCK}/lease"), self.lock_seconds)
        return self._leases.setdefault(folder, lease)

    @functools.cached_property
    def _lease_files(self) -> ObjectFiles:
        return ObjectFiles(self.where, answer_seconds=max(1.0, self.lock_seconds / LEASE_ANSWER_SHARE), tries=1)

    def _listed(self, folder: str, *, recursive: bool = True) -> dict[str, ObjectMeta]:
        """Return each object below a folder, by its name relative to it."""
        with self._store_errors(folder):
            if recursive:
                found = obstore.list(self._client, folder or None).collect()
            else:
                found = obstore.list_with_delimiter(self._client, folder or None)["objects"]
        # An object with the name of the folder is a mark that earlier releases made for it.
        start = len(folder) + bool(folder)
        return {each["path"][start:]: each for each in found if each["path"] != folder}

    def _repeat(self, request: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Send a request again where obstore does not, since it cannot know that this does no harm."""
        for _ in range(self._tries - 1):
            with contextlib.suppress(GenericError):
                request(self._client, *arguments, **options)
                return
        request(self._client, *arguments, **options)

    @contextlib.contextmanager
    def _store_errors(self, name: str) -> Iterator[None]:
        """Raise errors as StoreErrors that name the object, the cause and the next step."""
        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreError(f"store: cannot use {self.place(name)}: {_cause(error)}") from error

    @functools.cached_property
    def _client(self) -> S3Store:
        where, answer, credentials = self.where, timedelta(seconds=self._answer_seconds), _credentials()
        return S3Store(
            where.bucket,
            prefix=where.prefix or None,
            config={
                **({"endpoint": f"{where.scheme}://{where.endpoint}"} if where.endpoint else {}),
                "region": _region(where),
                "disable_bulk_delete": True,
                "skip_signature": credentials is None,
            },
            client_options={
                "allow_http": where.scheme == "http",
                "connect_timeout": min(answer, timedelta(seconds=CONNECT_SECONDS)),
                "read_timeout": answer,
                "timeout": TRANSFER_ANSWERS * answer,
            },
            retry_config={
                "max_retries": self._tries - 1,
                "retry_timeout": self._tries * answer,
                "backoff": {"max_backoff": timedelta(seconds=2)},
            },
            credential_provider=credentials,
        )


def _region(where: ObjectPlace) -> str:
    if where.region or where.endpoint:
        return where.region or "us-east-1"  # servers other than Amazon's ignore it
    from pyarrow import fs  # its import takes a while

    return fs.resolve_s3_region(where.bucket)


def _credentials() -> S3CredentialProvider | None:
    """Return the credentials that Amazon's own tools would use; None where there are none."""
    from botocore.exceptions import BotoCoreError  # its import takes a while
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider(ttl=CREDENTIALS_KEPT)
    except ValueError:
        return None
    except BotoCoreError as error:
        raise StoreError(f"store: no credentials for S3: {error}; {SET_CREDENTIALS}") from error


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _cause(error: Exception) -> str:
    found = _CODE.search(str(error))
    code = found[1] if found else type(error).__name__
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or choose another place with --store"
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or code in _ACCESS_CODES:
        return f"access is denied ({code}); {SET_CREDENTIALS}, and check their permissions in the bucket"
    # What follows are the server's answer, and the error once more for developers.
    summary = re.split(r"[<\n]", str(error), maxsplit=1)[0][:300].rstrip(": ")
    return f"the request failed ({code}): {summary}; check the network and endpoint_override, or try again"
