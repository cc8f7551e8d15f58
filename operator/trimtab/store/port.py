"""What the operator asks of an artifact store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trimtab.api.conditions import Reason
from trimtab.contract.artifact import Baseline, Manifest, Signature


@dataclass(frozen=True)
class Documents:
    """The small files of an artifact, verified against the digest. The model is never read."""

    manifest: Manifest
    signature: Signature
    baseline: Baseline | None


class StoreAway(Exception):
    """The store did not answer, or the operator has no credentials for it; says which."""

    def __init__(self, message: str, *, no_credentials: bool = False) -> None:
        super().__init__(message)
        self.no_credentials = no_credentials


class ArtifactBroken(Exception):
    """The stored artifact is not what the digest says, or cannot be read as one.

    `reason`: DigestMismatch, Unreadable or SchemaBroken.
    """

    def __init__(self, message: str, *, reason: Reason = Reason.UNREADABLE) -> None:
        super().__init__(message)
        self.reason = reason


class NotAuthentic(Exception):
    """A checkpoint that the holder of the release's key has not written; says what is wrong."""


class CheckpointStore(Protocol):
    """Where the operator keeps what a successor goes on from."""

    async def save(self, name: str, raw: Callable[[], bytes]) -> None:
        """Replace the object `name`; `raw` is called off the event loop. Raises StoreAway."""
        ...

    async def load(self, name: str) -> bytes | None:
        """Return the object `name`, None where there is none. Raises StoreAway, NotAuthentic."""
        ...


class Store(Protocol):
    """The port."""

    async def documents(self, uri: str, digest: str) -> Documents:
        """Return manifest, signature and baseline; StoreAway or ArtifactBroken otherwise."""
        ...

    def cached(self, digest: str) -> Documents | None:
        """Return the documents of an artifact that was read before, without I/O."""
        ...
