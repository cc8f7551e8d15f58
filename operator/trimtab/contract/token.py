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

Format 2 is written where the row was also predicted by another version (classes only): the same
up to the signature, then

    | 32 B digest of the other version | u16 n + sealed part, see `pairing`

The sealed part is bound to all before it, its nonce is the id. Who has no key to open it reads the
rest as format 1.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trimtab.contract.pairing import Pair, PairWriter, Sealer, raw_digest, unpacked

MAX_ROWS: Final = 256
"""Rows that one token covers at most; of a longer request the first ones."""
PROBABILITY_BINS: Final = 20
"""Equal bins of the calibrated probability of the predicted class."""
NO_BIN: Final = 255
MIN_KEY_BYTES: Final = 16
ID_BYTES: Final = 12
MAX_TOKEN_CHARACTERS: Final = 65536
MAX_PAIRED_CHARACTERS: Final = 8192
"""Of a token of format 2; as many of the first rows are paired as surely fit."""

_FORMAT: Final = 1
_PAIRED_FORMAT: Final = 2
_CLASSES: Final = 0
_VALUES: Final = 1
_SIGNATURE_BYTES: Final = 16
_FORMATS: Final = (_FORMAT, _PAIRED_FORMAT)
_FORMAT_BYTE: Final = bytes([_FORMAT])
_PAIRED_FORMAT_BYTE: Final = bytes([_PAIRED_FORMAT])
_CLASS_HEAD_BYTES: Final = struct.calcsize(">BI12sHH")
_PAIR_HEAD_BYTES: Final = 34


class TokenRefused(Exception):
    """The token cannot be counted; `reason` is `forged` or `malformed`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """What a verified token says.

    `predicted` has one class name (classification) or one number (regression) a row; `bins` has
    one index in 0..19 a row, or `NO_BIN` where the model gives no probability. `pair` is what
    another version answered, where that was told and could be opened.
    """

    digest: str
    baseline: str
    model: str
    version: str
    hour: int
    id: bytes
    predicted: tuple[str, ...] | tuple[float, ...]
    bins: bytes
    pair: Pair | None = None

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
        self._digest = raw_digest(digest)
        self._head = self._digest + raw_digest(baseline)
        self._names = _short(model) + _short(version)
        self._classes = [_long(name) for name in classes]
        self._longest = sorted(map(len, self._classes), reverse=True)
        self.most_rows = next(rows for rows in range(MAX_ROWS, -1, -1) if self._fits(rows))
        """How many rows a token covers, so that each can be read; 0 where none can.

        It follows from the class list alone, as in `paired_rows`.
        """

    def _fits(self, rows: int) -> bool:
        """Whether a token of `rows` rows is never too long, whatever their classes are."""
        longest = self._clear_bytes(rows) + _SIGNATURE_BYTES
        return not rows or -(-longest * 4 // 3) <= MAX_TOKEN_CHARACTERS

    def _clear_bytes(self, rows: int) -> int:
        """Return the length of the signed part of `rows` rows of the longest class names."""
        fixed = 1 + len(self._head) + _CLASS_HEAD_BYTES + len(self._names)
        return fixed + sum(self._longest[:rows]) + 2 * rows

    def classes(self, indices: Sequence[int], bins: bytes, *, hour: int, id: bytes) -> str:
        """Return the token of predicted class `indices` (the first `most_rows` are taken).

        `bins` holds one byte a row, `id` 12 bytes.
        """
        return self._signed(_FORMAT_BYTE + self._head + self._class_part(indices, bins, hour, id))

    def paired_rows(self, rows: int, pair: PairWriter) -> int:
        """Return how many of `rows` rows can carry the other version's answer, too.

        It follows from the number of rows and the class lists alone: were it the answers at hand
        that decide, some classes would be compared more often than others.
        """
        rows = min(rows, self.most_rows)
        clear = self._clear_bytes(rows) + _PAIR_HEAD_BYTES + _SIGNATURE_BYTES
        room = MAX_PAIRED_CHARACTERS * 3 // 4 - clear
        while rows and pair.sealed_bytes(rows) > room:
            rows -= 1
        return rows

    def paired(
        self,
        indices: Sequence[int],
        bins: bytes,
        others: Sequence[int],
        pair: PairWriter,
        *,
        hour: int,
        id: bytes,
    ) -> str:
        """Return the token of format 2: as `classes`, and the other version's class indices.

        `others` are those of the first `paired_rows`; `id` must never come again under one key.
        """
        clear = b"".join(
            (
                _PAIRED_FORMAT_BYTE,
                self._head,
                self._class_part(indices, bins, hour, id),
                pair.against,
                struct.pack(">H", pair.sealed_bytes(len(others))),
            )
        )
        scope = _scope(self._digest, pair.against, hour)
        return self._signed(
            clear + pair.sealer.seal(pair.packed(others), clear, nonce=id, scope=scope)
        )

    def _class_part(self, indices: Sequence[int], bins: bytes, hour: int, id: bytes) -> bytes:
        indices = indices[: self.most_rows]
        rows = len(indices)
        if rows == 1:
            names, rowwise = self._classes[indices[0]], b"\0"
            count = 1
        else:
            places = {index: place for place, index in enumerate(dict.fromkeys(indices))}
            names = b"".join([self._classes[index] for index in places])
            rowwise = bytes([places[index] for index in indices])
            count = len(places)
        return (
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
            _FORMAT_BYTE
            + self._head
            + struct.pack(">BI12s", _VALUES, hour, id)
            + self._names
            + struct.pack(f">H{len(values)}d", len(values), *values)
        )

    def _signed(self, body: bytes) -> str:
        mac = hmac.digest(self._key, body, "sha256")[:_SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode("ascii")


def read_token(text: str, key: bytes, sealer: Sealer | None = None) -> Token:
    """Verify and unpack a token; what is sealed in it only where `sealer` can open it.

    Raises TokenRefused: `malformed` when it is not a token at all, `forged` when the signature
    does not fit (compared in constant time).
    """
    raw = _decoded(text)
    body, mac = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if not hmac.compare_digest(hmac.digest(key, body, "sha256")[:_SIGNATURE_BYTES], mac):
        raise TokenRefused("forged", "the signature does not fit the key of this deployment")
    try:
        return _unpacked(body, sealer)
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
    if len(raw) < 64 + _SIGNATURE_BYTES or raw[0] not in _FORMATS:
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


def _unpacked(body: bytes, sealer: Sealer | None) -> Token:
    reader = _Reader(body)
    format = reader.number(">B")
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
    pair = None
    if format == _PAIRED_FORMAT:
        pair = _opened(reader, body, sealer, digest, hour, token_id)
    return Token(
        "sha256:" + digest.hex(),
        "sha256:" + baseline.hex(),
        model,
        version,
        hour,
        token_id,
        predicted,
        bins,
        pair,
    )


def _opened(
    reader: _Reader, body: bytes, sealer: Sealer | None, digest: bytes, hour: int, id: bytes
) -> Pair | None:
    """Return the other version's answers, where `sealer` opens them."""
    against = reader.take(32)
    length = reader.number(">H")
    sealed = reader.take(length)
    clear = body[: len(body) - length]
    if sealer is None or clear + sealed != body:
        return None
    plain = sealer.opened(sealed, clear, nonce=id, scope=_scope(digest, against, hour))
    return None if plain is None else unpacked("sha256:" + against.hex(), plain)


def _scope(digest: bytes, against: bytes, hour: int) -> bytes:
    """Return of what the seal's key is: one pair of versions, one hour."""
    return digest + against + struct.pack(">I", hour)


def _short(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">B", len(encoded)) + encoded


def _long(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
