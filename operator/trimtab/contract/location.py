"""Where artifacts and data lie: one URI, one store, the same few verbs for all of them.

Schemes: `s3`, `gs`, `az`, `https` (read only, without redirects), `file`, and
`pvc://<claim>/<path>`, which is the claim mounted at `/var/run/trimtab/pvc/<claim>`. Every call is
bounded: connect 5 s, silence on the wire 30 s, five tries within two minutes, one request within
the time and the size that the caller names.

Calls block; whoever has an event loop runs them in a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, S3Store

from trimtab.contract.https_files import HttpsFiles

SCHEMES: Final = ("s3", "gs", "az", "https", "file", "pvc")
PVC_ROOT: Final = Path("/var/run/trimtab/pvc")
_LARGEST_CREDENTIAL_BYTES: Final = 65_536
_CHUNK_BYTES: Final = 1 << 20
_LARGEST_PUT_BYTES: Final = 64 << 20
_RESUMES: Final = 4
WHOLE_MODEL: Final = timedelta(minutes=30)
"""Time for one request; a stalled one ends after 30 s without a byte."""
_LONGEST_RETRIES: Final = timedelta(minutes=2)
_CLIENT: Final[dict[str, Any]] = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
}
_RETRY: Final[dict[str, Any]] = {
    "max_retries": 4,
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


_NODES_OWN: Final = ("//169.254.169.254", "//metadata.google.internal")
"""Where a node of a cloud has its own identity, asked where the settings have none."""
_STATUS: Final = "non-2xx status code:"
"""What obstore writes before the status and the body of an answer."""
_CHECK: Final = "check the Secret (by default trimtab-artifacts)"
_NO_SUCH_KEY: Final = f"the store does not know the access key; {_CHECK}"
_REFUSED: Final = {
    "XAdminUserNotFound": _NO_SUCH_KEY,
    "InvalidAccessKeyId": _NO_SUCH_KEY,
    "SignatureDoesNotMatch": f"the secret key is not that of the access key; {_CHECK}",
    "AccessDenied": f"the access key may not do this; {_CHECK} and the store's policy",
    "ExpiredToken": f"the session token has expired; {_CHECK}",
    "InvalidToken": f"the store does not know the session token; {_CHECK}",
}
"""Codes with which an S3 refuses credentials, whatever the status."""


class LocationError(Exception):
    """A location could not be used; the message says what to do about it."""


class BadLocation(LocationError):
    """The URI or the credentials are wrong: change them."""


class NotInStore(LocationError):
    """There is no such object."""


class AccessDenied(LocationError):
    """The store refuses these credentials."""


class StoreUnavailable(LocationError):
    """The store did not answer, or not in time: try again later."""


class TooLarge(LocationError):
    """The object is larger than the caller allows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object: path relative to the location, bytes, and when it was last written (UTC)."""

    path: str
    size: int
    modified: datetime


class Location:
    """A folder in a store. Paths are relative to it; `..` never leaves it."""

    def __init__(self, uri: str, store: Any, root: str) -> None:
        self.uri = uri.rstrip("/") + "/"
        self._store = store
        self._root = root.strip("/")

    def __repr__(self) -> str:
        return f"Location({self.uri!r})"

    def below(self, path: str) -> Location:
        """Return the folder `path` below this one."""
        return Location(self.uri + path.strip("/"), self._store, self._key(path))

    def head(self, path: str) -> Entry:
        """Return size and time of one object. Raise NotInStore and the other LocationErrors."""
        with self._errors("head", path):
            size, modified = self._head(self._key(path))
        return Entry(path, size, modified)

    def get(self, path: str, limit: int) -> bytes:
        """Return one object whole; raise TooLarge if it is longer than `limit` bytes."""
        with self._errors("read", path):
            size, chunks = self._open(self._key(path))
            self._check_size(path, size, limit)
            body = bytearray()
            for chunk in chunks:
                self._check_size(path, len(body) + len(chunk), limit)
                body += chunk
        return bytes(body)

    def fetch(
        self,
        path: str,
        into: Path,
        size: int,
        *,
        progress: Callable[[int], None] = lambda _bytes: None,
    ) -> str:
        """Stream one object of at most `size` bytes into a file; return its sha256 in hex.

        A broken connection is resumed at the byte where it broke, four times at most. `progress`
        is told the bytes written so far. The file is complete or the call raises.
        """
        into.parent.mkdir(parents=True, exist_ok=True)
        hashed = hashlib.sha256()
        written = 0
        with into.open("wb") as file:
            for attempt in range(_RESUMES + 1):
                try:
                    for chunk in self._chunks_from(path, written, size):
                        written += len(chunk)
                        self._check_size(path, written, size)
                        file.write(chunk)
                        hashed.update(chunk)
                        progress(written)
                    break
                except StoreUnavailable:
                    if attempt == _RESUMES:
                        raise
                    time.sleep(0.2 * 2**attempt)
        return hashed.hexdigest()

    def put(self, path: str, content: bytes | Path) -> None:
        """Write one object, above 64 MiB in parts; what was there is replaced."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.require_writable()
        with self._errors("write", path):
            obstore.put(
                self._store, self._key(path), content, use_multipart=size > _LARGEST_PUT_BYTES
            )

    def entries(self, below: str = "") -> Iterator[Entry]:
        """Yield all objects below the folder, in the order of the store."""
        key = self._key(below) if below else self._root
        skip = len(self._root) + 1 if self._root else 0
        store = self._store
        if isinstance(store, HttpsFiles):
            store = _webdav(self.uri)
        with self._errors("list", below):
            for batch in obstore.list(store, prefix=key or None):
                for meta in batch:
                    yield Entry(meta["path"][skip:], meta["size"], meta["last_modified"])

    def _chunks_from(self, path: str, offset: int, size: int) -> Iterator[bytes]:
        with self._errors("read", path):
            if offset and offset >= self._head(self._key(path))[0]:
                return
            total, chunks = self._open(self._key(path), offset)
            self._check_size(path, total, size)
            yield from chunks

    def _head(self, key: str) -> tuple[int, datetime]:
        if isinstance(self._store, HttpsFiles):
            return self._store.head(key)
        meta = obstore.head(self._store, key)
        return meta["size"], meta["last_modified"]

    def _open(self, key: str, offset: int = 0) -> tuple[int, Iterator[bytes]]:
        """Return the size of the whole object and its bytes from `offset` on."""
        if isinstance(self._store, HttpsFiles):
            return self._store.read(key, offset)
        answer = obstore.get(
            self._store, key, options={"range": {"offset": offset}} if offset else None
        )
        return answer.meta["size"], map(bytes, answer.stream(min_chunk_size=_CHUNK_BYTES))

    def require_writable(self) -> None:
        """Raise BadLocation where nothing can be written whatever the store says.

        A claim is mounted or not; a folder made in its place would be lost with the machine.
        """
        if isinstance(self._store, HttpsFiles):
            raise BadLocation(f"{self.uri}: https is read only; write to s3, gs or az")
        parts = urlsplit(self.uri)
        if parts.scheme == "pvc" and not (PVC_ROOT / parts.netloc).is_dir():
            raise BadLocation(
                f"{self.uri}: the claim {parts.netloc} is not mounted here, at "
                f"{PVC_ROOT / parts.netloc}; publish from a pod that mounts it, or to another store"
            )

    def _check_size(self, path: str, size: int, limit: int) -> None:
        if size > limit:
            raise TooLarge(
                f"{self.uri}{path} has {size:,} bytes, more than the {limit:,} allowed here"
            )

    def _key(self, path: str) -> str:
        parts = [part for part in path.split("/") if part]
        if any(part in {".", ".."} for part in parts):
            raise BadLocation(f"{self.uri}{path}: a path must not contain '.' or '..'")
        return "/".join([self._root, *parts] if self._root else parts)

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        """Translate the store's errors into ours, named by what the caller can do."""
        what = f"{verb} {self.uri}{path}"
        try:
            yield
        except (BaseError, OSError) as error:
            raise _named(what, error) from error
        except ValueError as error:  # no store takes a name with, say, a control character in it
            raise BadLocation(f"{what!r}: no store has such a name") from error


def open_location(
    uri: str, credentials_dir: Path | None = None, within: timedelta = WHOLE_MODEL
) -> Location:
    """Return the folder that `uri` names; `within` is the time for one request.

    `credentials_dir` holds one file per setting, named as the store's tools name it
    (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT_KEY`,
    `AZURE_STORAGE_ACCOUNT_KEY`, ...); a missing folder is an empty one, and then the environment
    and the node's own identity are used. Plain http is allowed for an S3 endpoint only.
    Raise BadLocation; nothing is contacted yet.
    """
    parts = urlsplit(uri)
    path = unquote(parts.path)
    _check_uri(uri, parts.scheme, parts.netloc, path, parts.query + parts.fragment)
    settings = _read_settings(credentials_dir)
    try:
        match parts.scheme:
            case "s3":
                return Location(uri, _s3(parts.netloc, settings, within), path)
            case "gs":
                google = _store(GCSStore, parts.netloc, settings, "GOOGLE_", within)
                return Location(uri, google, path)
            case "az":
                azure = _store(AzureStore, parts.netloc, settings, "AZURE_", within)
                return Location(uri, azure, path)
            case "https":
                return Location(uri, HttpsFiles(parts.netloc, within), path)
            case "pvc":
                return Location(uri, LocalStore(), f"{PVC_ROOT}/{parts.netloc}{path}")
            case _:
                return Location(uri, LocalStore(), path)
    except (BaseError, ValueError) as error:
        raise BadLocation(f"{uri}: {_first(error)}; check the store's credentials") from error


def _check_uri(uri: str, scheme: str, host: str, path: str, rest: str) -> None:
    if scheme not in SCHEMES:
        known = f"scheme must be one of {', '.join(SCHEMES)}"
        if "://" in uri or "\0" in uri:
            raise BadLocation(f"{uri}: {known}")
        here = Path(uri).expanduser().absolute().as_uri()
        raise BadLocation(f"{uri}: {known}; for a folder of this machine write {here}")
    if any(part in {".", ".."} for part in path.split("/")) or "\\" in path or "\0" in path:
        raise BadLocation(f"{uri}: a path must not contain '.' or '..'")
    if "@" in host:
        raise BadLocation(f"{scheme}://...: credentials belong into the Secret, not into the URI")
    if rest:
        raise BadLocation(f"{uri}: a location has no query or fragment")
    if scheme == "file" and host:
        raise BadLocation(f"{uri}: a file URI has three slashes: file:///path")
    if scheme != "file" and (not host or host in {".", ".."}):
        raise BadLocation(f"{uri}: the bucket, host or claim is missing after {scheme}://")


def _read_settings(folder: Path | None) -> dict[str, str]:
    """Read one setting a file; Secret mounts also hold hidden folders, which are skipped."""
    if folder is None or not folder.is_dir():
        return {}
    found = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not file.is_file():
            continue
        if file.stat().st_size > _LARGEST_CREDENTIAL_BYTES:
            raise BadLocation(f"credential file {file.name} is larger than 64 KiB")
        found[file.name] = file.read_text(encoding="utf-8").strip()
    return found


def _webdav(uri: str) -> HTTPStore:
    """What can list a folder over https, where the server speaks WebDAV."""
    return HTTPStore.from_url(
        f"https://{urlsplit(uri).netloc}/",
        client_options=_CLIENT | {"timeout": WHOLE_MODEL},  # type: ignore[arg-type]
        retry_config=_RETRY | {"retry_timeout": _LONGEST_RETRIES},  # type: ignore[arg-type]
    )


def _s3(bucket: str, settings: dict[str, str], within: timedelta) -> Any:
    endpoint = settings.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL", "")
    config = {name: value for name, value in settings.items() if name.startswith("AWS_") and value}
    config.setdefault("AWS_REGION", os.environ.get("AWS_REGION", "us-east-1"))
    if endpoint:
        config["AWS_ENDPOINT_URL"] = endpoint
        # Small stores answer under one host name; buckets as host names need DNS of their own.
        config.setdefault("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false")
        if "AWS_ACCESS_KEY_ID" not in {*config, *os.environ}:
            config["AWS_SKIP_SIGNATURE"] = "true"
    plain = {"allow_http": endpoint.startswith("http://")}
    return _store(S3Store, bucket, config, "AWS_", within, plain)


def _store(
    kind: Any,
    bucket: str,
    settings: dict[str, str],
    family: str,
    within: timedelta,
    client: Any = None,
) -> Any:
    """Make a store from those settings that are of its family; name one it does not know."""
    config = {name: value for name, value in settings.items() if name.startswith(family) and value}
    try:
        return kind(
            bucket,
            config=config,
            client_options=_CLIENT | {"timeout": within} | (client or {}),
            retry_config=_RETRY | {"retry_timeout": min(within, _LONGEST_RETRIES)},
        )
    except UnknownConfigurationKeyError as error:
        raise BadLocation(f"the credentials hold a setting that is unknown: {_first(error)}") from (
            error
        )


def _named(what: str, error: Exception) -> LocationError:
    """Return our error for one of the store's; its own code says more than the status.

    A store with one user, such as versitygw, answers 404 to a wrong key. Answers to HEAD have no
    body, and so no code.
    """
    code = _s3_code(error)
    if code in _REFUSED or isinstance(
        error, PermissionDeniedError | UnauthenticatedError | PermissionError
    ):
        why = _REFUSED.get(code, f"the store refused the credentials; {_CHECK} ({_first(error)})")
        return AccessDenied(f"{what}: {why}")
    if code == "NoSuchBucket":
        return NotInStore(f"{what}: there is no such bucket; check the URI")
    if any(place in str(error) for place in _NODES_OWN):
        return StoreUnavailable(f"{what}: {_no_credentials(what)} ({_first(error)})")
    if isinstance(error, FileNotFoundError):
        return NotInStore(f"{what}: there is no such object; check the URI")
    return StoreUnavailable(f"{what}: the store did not answer as it should ({_first(error)})")


def _no_credentials(what: str) -> str:
    """Return what to set where neither settings nor the node say who asks."""
    scheme = what.partition(" ")[2].partition(":")[0]
    settings = {
        "gs": "GOOGLE_SERVICE_ACCOUNT_KEY",
        "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    }.get(scheme, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return (
        f"there are no credentials: set {settings}, in the environment or the Secret; this machine "
        "has none of its own to give"
    )


def _s3_code(error: Exception) -> str:
    """Return the code in the body of an S3's answer, such as NoSuchKey; empty if there is none.

    The body comes last in the first part of the text, after what names the object.
    """
    answer = str(error).partition("\nDebug source:")[0].rpartition(_STATUS)[2]
    found = re.search(r"<Code>([A-Za-z]{1,64})</Code>", answer)
    return found.group(1) if found else ""


def _first(error: BaseException) -> str:
    """Return the first line of an error; the store's own go on with a page of internals."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
