"""Which columns of recorded rows are what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Columns:
    """Names of columns. `probability`: of the second class, or one a class in order of classes."""

    prediction: str
    time: str | None = None
    probability: tuple[str, ...] = ()
    label: str | None = None
    features: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All that rows must have."""
        always = (self.prediction, *self.probability, *self.features)
        return (*always, *(name for name in (self.time, self.label) if name is not None))
