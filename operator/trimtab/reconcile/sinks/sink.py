"""What a sink is."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from trimtab.api.record import Decision
from trimtab.cluster.port import Json


class Sink(Protocol):
    """Somewhere that decisions are told. Idempotent by uid and seq: a repeat is a success."""

    @property
    def name(self) -> str:
        """Key in `status.record.told`; never changed once released."""
        ...

    async def tell(self, regarding: Json, decision: Decision, now: datetime) -> None:
        """Tell one decision. Raises RetryLater or Refused: it is asked again, the latter rarely.

        now: by which it may be too old to be news; its own time where this process has made it.
        """
        ...
