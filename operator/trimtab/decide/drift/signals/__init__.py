"""What a DriftPolicy can watch, a file each, and the list of them."""

from __future__ import annotations

from trimtab.api.conditions import ConditionType
from trimtab.decide.drift.signals.data import BrokenData
from trimtab.decide.drift.signals.inputs import Inputs
from trimtab.decide.drift.signals.outcomes import Outcomes
from trimtab.decide.drift.signals.predictions import Predictions
from trimtab.decide.drift.signals.quality import Quality
from trimtab.decide.drift.signals.signal import SignalType

SIGNALS: tuple[SignalType, ...] = (
    BrokenData(),
    Outcomes(),
    Quality(),
    Predictions(),
    Inputs(),
)
"""Of several with the same verdict, the first is shown in the columns of a policy."""


def signal_type(kind: str) -> SignalType:
    """Return what is stated of one kind of signal; ValueError if there is none."""
    for own in SIGNALS:
        if own.kind == kind:
            return own
    raise ValueError(f"there is no signal {kind!r}")


def shown_before(kind: str) -> int:
    """Return the place of a kind in `SIGNALS`."""
    return SIGNALS.index(signal_type(kind))


def conditions_of_signals() -> list[ConditionType]:
    """Return the conditions that signals set, each once."""
    return list(dict.fromkeys(own.condition for own in SIGNALS))
