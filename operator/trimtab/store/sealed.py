"""Checkpoints that only the holder of the release's key can write.

    trimtab-sealed/1\\n   HMAC-SHA256 over name and content, in hex   \\n   content

Whoever can write to the store could else make the operator count what never happened. The name is
under the seal, so that one object cannot stand in for another. An older object of the same name
can: a stale checkpoint costs what an earlier kill costs.

The key is derived from the release's seed (32 bytes of a mounted file) by HKDF (RFC 5869), so that
other uses of the seed do not meet this one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

from trimtab.store.port import CheckpointStore, NotAuthentic

SEED_BYTES = 32
_MAGIC = b"trimtab-sealed/1\n"
_PURPOSE = b"trimtab.dev/checkpoint/1"
_MAC_CHARACTERS = 2 * hashlib.sha256().digest_size


class SealedCheckpoints:
    """`trimtab.store.port.CheckpointStore` over another one, with a seal around each object."""

    def __init__(self, store: CheckpointStore, seed: bytes) -> None:
        """seed: what `read_seed` gave. It is kept nowhere but in the derived key."""
        self._store = store
        self._key = derive_key(seed, _PURPOSE)

    async def save(self, name: str, raw: Callable[[], bytes]) -> None:
        """Replace the object `name`; `raw` is called in a thread. Raises StoreAway."""
        await self._store.save(name, lambda: self._sealed(name, raw()))

    async def load(self, name: str) -> bytes | None:
        """Return the object `name`, None where there is none. Raises StoreAway, NotAuthentic."""
        sealed = await self._store.load(name)
        if sealed is None:
            return None
        # Megabytes: not on the event loop.
        return await asyncio.to_thread(self._opened, name, sealed)

    def _sealed(self, name: str, content: bytes) -> bytes:
        return b"".join((_MAGIC, self._mac(name, content), b"\n", content))

    def _opened(self, name: str, sealed: bytes) -> bytes:
        head = len(_MAGIC) + _MAC_CHARACTERS
        if not sealed.startswith(_MAGIC) or sealed[head : head + 1] != b"\n":
            raise NotAuthentic("it has no seal")
        content = sealed[head + 1 :]
        if not hmac.compare_digest(sealed[len(_MAGIC) : head], self._mac(name, content)):
            raise NotAuthentic("its seal is of another key, or of another object")
        return content

    def _mac(self, name: str, content: bytes) -> bytes:
        mac = hmac.new(self._key, name.encode() + b"\0", hashlib.sha256)
        mac.update(content)
        return mac.hexdigest().encode()


def derive_key(seed: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose: HKDF-SHA256 without a salt, one block (RFC 5869)."""
    extracted = hmac.new(bytes(hashlib.sha256().digest_size), seed, hashlib.sha256).digest()
    return hmac.new(extracted, purpose + b"\x01", hashlib.sha256).digest()


def read_seed(file: Path) -> bytes:
    """Return the seed; ValueError, which never repeats what the file holds, if it is not one."""
    try:
        with file.open("rb") as opened:
            seed = opened.read(SEED_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(seed) != SEED_BYTES:
        raise ValueError(f"{file} must hold {SEED_BYTES} bytes")
    return seed
