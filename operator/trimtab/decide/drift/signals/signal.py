"""What each kind of signal states of itself; everything else asks it and never its name.

judge      the verdict, from an immutable view of the Deployment
span       the window that the verdict is about, and that is judged once
event, condition, value_name      how it is told
goes_first, sets_floor            what follows when it fires
reference, demand                 what it is held to, and how many rows it needs
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.api.drift_policy import Signal, SignalKind
from trimtab.contract.artifact import Baseline
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.snapshot import LabelledWindow, WatchedDeployment, WindowView

WAITING = Finding("NoData", "Waiting: the first window is not over")


@dataclass(frozen=True)
class Reference:
    """The metric, on one slice of the rows, that a signal is compared with."""

    metric: str
    slice: str


@dataclass(frozen=True)
class Demand:
    """Rows that a verdict asks for at the level of one look, and what they are to show."""

    rows_at: Callable[[float], int]
    sees: str


class SignalType(ABC):
    """One kind of signal. Each signal of a policy is of one."""

    kind: ClassVar[SignalKind]
    event: ClassVar[EventReason]
    """What is told when it fires."""
    condition: ClassVar[ConditionType]
    """The condition that it makes true, with others of its sort."""
    is_judged_once: ClassVar[bool] = True
    """Whether a window is judged once; else each pass gives a verdict."""
    goes_first: ClassVar[bool] = False
    """While it fires its rule goes before all others, and nothing is retrained."""
    sets_floor: ClassVar[bool] = False
    """Whether a version that is made in answer must beat its threshold."""

    @abstractmethod
    def judge(self, signal: Signal, watched: WatchedDeployment, alpha: float) -> Finding:
        """Return what it says. alpha: the level of this one look."""

    @abstractmethod
    def span(
        self, signal: Signal, watched: WatchedDeployment
    ) -> WindowView | LabelledWindow | None:
        """Return the window that a verdict is about; None where there is none."""

    @abstractmethod
    def value_name(self, signal: Signal) -> str:
        """Return what its value is called in pictures."""

    def reference(self, signal: Signal) -> Reference | None:
        """Return what it is compared with beside the baseline; None where nothing."""
        return None

    def demand(
        self, signal: Signal, baseline: Baseline | None, score: float | None
    ) -> Demand | None:
        """Return the rows that a window needs; None where nobody can say.

        score: of its reference, None where it is not known.
        """
        return None


class WindowSignal(SignalType):
    """A signal that is judged on the completed windows of the policy."""

    def span(
        self, signal: Signal, watched: WatchedDeployment
    ) -> WindowView | LabelledWindow | None:
        """Return the newest window."""
        return watched.window

    def judge(self, signal: Signal, watched: WatchedDeployment, alpha: float) -> Finding:
        """Return what the newest window says."""
        if watched.window is None:
            return WAITING
        return self.judge_window(signal, watched.window, watched, alpha)

    @abstractmethod
    def judge_window(
        self, signal: Signal, window: WindowView, watched: WatchedDeployment, alpha: float
    ) -> Finding:
        """Return what one window says."""
