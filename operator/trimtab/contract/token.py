"""The label token: a signed note of what a version predicted, carried by the caller.

Each answer holds one. Whoever learns the truth later posts token and truth to any replica, which
counts it for the version that predicted. No store is needed, and a prediction cannot be forged
without the key that the pods of one Deployment share; truths are believed.

Layout, big-endian, base64url without padding:

    u8 format (1) | 32 B version digest | 32 B baseline digest | u8 kind | u32 hour | 12 B id
    | u8 n + model | u8 n + version | u16 rows
    | kind 0 (classes): u16 names, each u16 n + name; u8 name index per row; u8 bin per row
    | kind 1 (values): f64 value per row
    | 16 B of HMAC-SHA256 over all before it
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_ROWS: Final = 256
"""Rows that one token covers; of a longer request the first ones."""
PROBABILITY_BINS: Final = 20
"""Equal bins of the calibrated probability of the predicted class."""
NO_BIN: Final = 255
MIN_KEY_BYTES: Final = 16
ID_BYTES: Final = 12
MAX_TOKEN_CHARACTERS: Final = 65536

_FORMAT: Final = 1
_CLASSES: Final = 0
_VALUES: Final = 1
_SIGNATURE_BYTES: Final = 16


class TokenRefused(Exception):
    """The token cannot be counted; `reason` is `forged` or `malformed`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """What a verified token says.

    `predicted` has one class name (classification) or one number (regression) a row; `bins` has
    one index in 0..19 a row, or `NO_BIN` where the model gives no probability.
    """

    digest: str
    baseline: str
    model: str
    version: str
    hour: int
    id: bytes
    predicted: tuple[str, ...] | tuple[float, ...]
    bins: bytes

    @property
    def is_regression(self) -> bool:
        """Whether `predicted` holds numbers."""
        return not self.bins


class TokenWriter:
    """Signs tokens for one version; everything that does not change is packed once."""

    def __init__(
        self,
        key: bytes,
        *,
        digest: str,
        baseline: str,
        model: str,
        version: str,
        classes: Sequence[str] = (),
    ) -> None:
        check_key(key)
        self._key = key
        self._head = struct.pack(">B32s32s", _FORMAT, _raw(digest), _raw(baseline))
        self._names = _short(model) + _short(version)
        self._classes = [_long(name) for name in classes]

    def classes(self, indices: Sequence[int], bins: bytes, *, hour: int, id: bytes) -> str:
        """Return the token of predicted class `indices` (at most 256 rows are taken).

        `bins` holds one byte a row, `id` 12 bytes.
        """
        indices = indices[:MAX_ROWS]
        rows = len(indices)
        if rows == 1:
            names, rowwise = self._classes[indices[0]], b"\0"
            count = 1
        else:
            places = {index: place for place, index in enumerate(dict.fromkeys(indices))}
            names = b"".join([self._classes[index] for index in places])
            rowwise = bytes([places[index] for index in indices])
            count = len(places)
        return self._signed(
            struct.pack(">BI12s", _CLASSES, hour, id)
            + self._names
            + struct.pack(">HH", rows, count)
            + names
            + rowwise
            + bins[:rows]
        )

    def values(self, values: Sequence[float], *, hour: int, id: bytes) -> str:
        """Return the token of predicted numbers (at most 256 rows are taken)."""
        values = values[:MAX_ROWS]
        return self._signed(
            struct.pack(">BI12s", _VALUES, hour, id)
            + self._names
            + struct.pack(f">H{len(values)}d", len(values), *values)
        )

    def _signed(self, tail: bytes) -> str:
        body = self._head + tail
        mac = hmac.digest(self._key, body, "sha256")[:_SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode("ascii")


def read_token(text: str, key: bytes) -> Token:
    """Verify and unpack a token.

    Raises TokenRefused: `malformed` when it is not a token at all, `forged` when the signature
    does not fit (compared in constant time).
    """
    raw = _decoded(text)
    body, mac = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if not hmac.compare_digest(hmac.digest(key, body, "sha256")[:_SIGNATURE_BYTES], mac):
        raise TokenRefused("forged", "the signature does not fit the key of this deployment")
    try:
        return _unpacked(body)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise TokenRefused("malformed", "the token is signed but cannot be read") from error


def check_key(key: bytes) -> None:
    """Raise ValueError when the key is too short to sign with."""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the token key has {len(key)} bytes, at least {MIN_KEY_BYTES} are needed")


def _decoded(text: str) -> bytes:
    if not text or len(text) > MAX_TOKEN_CHARACTERS:
        raise TokenRefused("malformed", f"a token has 1 to {MAX_TOKEN_CHARACTERS} characters")
    try:
        ascii_text = text.encode("ascii")
        raw = base64.b64decode(ascii_text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise TokenRefused("malformed", "the token is not base64url") from error
    if len(raw) < 64 + _SIGNATURE_BYTES or raw[0] != _FORMAT:
        raise TokenRefused("malformed", "the token is cut or of an unknown format")
    # The spare bits of the last character must be zero, so that one token has one spelling.
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != ascii_text:
        raise TokenRefused("malformed", "the token is not base64url in its shortest form")
    return raw


class _Reader:
    """Cuts a byte string into fields, from the left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self, layout: str) -> tuple[int | float | bytes, ...]:
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return values

    def number(self, layout: str) -> int:
        return int(self.fields(layout)[0])

    def take(self, length: int) -> bytes:
        part = self._data[self._at : self._at + length]
        if len(part) != length:
            raise IndexError("the token ends early")
        self._at += length
        return part


def _unpacked(body: bytes) -> Token:
    reader = _Reader(body)
    reader.take(1)
    digest, baseline = reader.take(32), reader.take(32)
    kind, hour = reader.number(">B"), reader.number(">I")
    token_id = reader.take(ID_BYTES)
    model = reader.take(reader.number(">B")).decode()
    version = reader.take(reader.number(">B")).decode()
    rows = reader.number(">H")
    predicted: tuple[str, ...] | tuple[float, ...]
    if kind == _VALUES:
        predicted, bins = tuple(float(value) for value in reader.fields(f">{rows}d")), b""
    else:
        count = reader.number(">H")
        names = [reader.take(reader.number(">H")).decode() for _ in range(count)]
        predicted = tuple(names[place] for place in reader.take(rows))
        bins = reader.take(rows)
    return Token(
        "sha256:" + digest.hex(),
        "sha256:" + baseline.hex(),
        model,
        version,
        hour,
        token_id,
        predicted,
        bins,
    )


def _raw(digest: str) -> bytes:
    raw = bytes.fromhex(digest.removeprefix("sha256:"))
    if len(raw) != 32:
        raise ValueError(f"{digest!r} is not a sha256 digest")
    return raw


def _short(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">B", len(encoded)) + encoded


def _long(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
