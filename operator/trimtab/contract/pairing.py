"""The sealed part of a token: what the version that was compared with answered to the same rows.

It is for the pods alone: whoever carries the token must not learn what the version that did not
serve would have said. So it is encrypted (AES-256-GCM) under a key of its own, and its length says
nothing: it follows from the number of rows and the class lists of both versions, never from an
answer. Plain text before sealing, big-endian:

    u8 form | u16 paired rows
    | form 0 (few classes): u8 names, each u16 n + name: all classes; u8 index per row
    | form 1 (many classes): 8 B mark per row, a hash of the class name

The key of one hour and pair of versions is derived from the key file by HKDF, so that random
nonces (the token's id) stay far from the 2^32 that one key of AES-GCM may see.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol

MIN_SEAL_KEY_BYTES: Final = 16
TAG_BYTES: Final = 16
MAX_NAMED_CLASSES: Final = 10
"""Of either version, up to which cells are told by class; beyond, by same or different."""
MAX_TABLE_BYTES: Final = 1024
"""Of the names of all classes; longer ones are told by same or different, too."""
MARK_BYTES: Final = 8

_NAMED: Final = 0
_MARKED: Final = 1
_KEYS_KEPT: Final = 1024
_INFO: Final = b"trimtab token 2"


class Cipher(Protocol):
    """Authenticated encryption under one key."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Return the cipher text with its tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Return the plain text; raise where the tag does not fit."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The other version's answers for the first rows of a token.

    `against` is its digest. Of few classes `names` has one class name a row, else it is None and
    `marks` has one hash a row.
    """

    against: str
    names: tuple[str, ...] | None
    marks: tuple[bytes, ...]

    @property
    def rows(self) -> int:
        """How many rows of the token carry both answers."""
        return len(self.marks if self.names is None else self.names)

    def is_named(self, row: int, name: str) -> bool:
        """Whether the other version answered `name` to `row`."""
        if self.names is not None:
            return self.names[row] == name
        return self.marks[row] == mark(name)


class Sealer:
    """Seals and opens under one key file; raises ValueError when the key is too short.

    Raises ImportError where `cryptography` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        # Imported here: the operator and pods without a key have no need of OpenSSL's memory.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if len(key) < MIN_SEAL_KEY_BYTES:
            raise ValueError(
                f"the seal key has {len(key)} bytes, at least {MIN_SEAL_KEY_BYTES} are needed"
            )

        def derived(info: bytes) -> Cipher:
            return AESGCM(HKDF(SHA256(), length=32, salt=None, info=info).derive(key))

        self._invalid = InvalidTag
        self._cipher = lru_cache(_KEYS_KEPT)(derived)

    def seal(self, plain: bytes, clear: bytes, *, nonce: bytes, scope: bytes) -> bytes:
        """Return `plain` encrypted with a tag over it and `clear`.

        `nonce` has 12 bytes and is used once; `scope` says of what the key is.
        """
        return self._cipher(_INFO + scope).encrypt(nonce, plain, clear)

    def opened(self, sealed: bytes, clear: bytes, *, nonce: bytes, scope: bytes) -> bytes | None:
        """Return the plain text, or None where it was sealed under another key."""
        try:
            return self._cipher(_INFO + scope).decrypt(nonce, sealed, clear)
        except self._invalid:
            return None


class PairWriter:
    """Packs the other version's answers.

    `own` and `other` are the class names of both versions, in the order of their indices.
    """

    def __init__(
        self, sealer: Sealer, *, against: str, own: Sequence[str], other: Sequence[str]
    ) -> None:
        self.sealer = sealer
        self.against = raw_digest(against)
        names = [_long(name) for name in other]
        table = struct.pack(">B", min(len(names), 255)) + b"".join(names)
        self.is_named = (
            max(len(own), len(other)) <= MAX_NAMED_CLASSES and len(table) <= MAX_TABLE_BYTES
        )
        self._table = table if self.is_named else b""
        self._marks = [] if self.is_named else [mark(name) for name in other]
        self._row_bytes = 1 if self.is_named else MARK_BYTES

    def sealed_bytes(self, rows: int) -> int:
        """Return the length of the sealed part of `rows` rows."""
        return 3 + len(self._table) + rows * self._row_bytes + TAG_BYTES

    def packed(self, indices: Sequence[int]) -> bytes:
        """Return the plain text for the other version's class `indices`."""
        form = _NAMED if self.is_named else _MARKED
        head = struct.pack(">BH", form, len(indices)) + self._table
        if self.is_named:
            return head + bytes(indices)
        return head + b"".join([self._marks[index] for index in indices])


def unpacked(against: str, plain: bytes) -> Pair:
    """Read what was opened; raise struct.error, IndexError or UnicodeDecodeError."""
    form, rows = struct.unpack_from(">BH", plain)
    if form == _MARKED:
        marks = [plain[3 + at : 3 + at + MARK_BYTES] for at in range(0, rows * MARK_BYTES, 8)]
        if len(plain) != 3 + rows * MARK_BYTES:
            raise IndexError("the sealed part has another length")
        return Pair(against, None, tuple(marks))
    count, at = plain[3], 4
    names: list[str] = []
    for _ in range(count):
        (length,) = struct.unpack_from(">H", plain, at)
        names.append(plain[at + 2 : at + 2 + length].decode())
        at += 2 + length
    if form != _NAMED or len(plain) != at + rows:
        raise IndexError("the sealed part has another length")
    return Pair(against, tuple(names[place] for place in plain[at:]), ())


def mark(name: str) -> bytes:
    """Return the 8 bytes that stand for a class name inside a sealed part."""
    return blake2b(name.encode(errors="surrogatepass"), digest_size=MARK_BYTES).digest()


def raw_digest(digest: str) -> bytes:
    """Return the 32 bytes of `sha256:<64 hex>`; raise ValueError."""
    raw = bytes.fromhex(digest.removeprefix("sha256:"))
    if len(raw) != 32:
        raise ValueError(f"{digest!r} is not a sha256 digest")
    return raw


def _long(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
