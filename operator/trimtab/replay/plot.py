"""A picture of a replay: for each signal its value, threshold, verdicts and actions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.api.drift_policy import DriftPolicy, SignalKind
from trimtab.decide.drift.signals import signal_type
from trimtab.errors import SpecError, installing
from trimtab.replay.looks import Look
from trimtab.replay.recording import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
_PANEL_INCHES = 2.2
_WIDTH_INCHES = 10.0
# Told apart by shape too, for print and for eyes that do not see red beside green.
_MARKS = {
    "Stable": ("o", "#4477aa"),
    "Drifting": ("v", "#cc3311"),
    "InsufficientData": ("s", "#bbbbbb"),
    "NoData": ("x", "#888888"),
}
_BOTTOM = 0.04
"""Where in the panel verdicts without a value are marked."""
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "trimtab",  # the same picture is the same file
    "text.parse_math": False,  # a class may be called $x$
    "font.size": 9.0,
}


def plot(policy: DriftPolicy, recording: Recording, looks: Sequence[Look], path: Path) -> None:
    """Draw the looks into a file, whose suffix says the format; SpecError if that cannot be."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SpecError(f"a picture needs {error.name}: {installing('plot')}") from error
    kinds = list(dict.fromkeys(look.entry.kind for look in looks))
    if not kinds:
        raise SpecError("there is no look to draw")
    with mpl.rc_context(_SETTINGS):
        figure = Figure((_WIDTH_INCHES, _PANEL_INCHES * len(kinds) + 0.6), layout="constrained")
        figure.suptitle(f"DriftPolicy {policy.metadata.name}")
        panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
        for kind, panel in zip(kinds, panels, strict=True):
            own = [look for look in looks if look.entry.kind == kind]
            signal = next(signal for signal in policy.spec.signals if signal.kind == kind)
            what = signal_type(kind).value_name(signal)
            _draw(panel, kind, own, what, is_timed=recording.is_timed)
        panels[-1].set_xlabel("end of window" if recording.is_timed else "window")
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise SpecError(f"--plot {path}: cannot be written: {error}") from error


def _draw(
    panel: Axes, kind: SignalKind, looks: Sequence[Look], what: str, *, is_timed: bool
) -> None:
    places: list[Any] = [look.window.end if is_timed else n for n, look in enumerate(looks, 1)]
    values = [_number(look.entry.value) for look in looks]
    limits = [_number(look.entry.threshold) for look in looks]
    panel.plot(places, values, color="#4477aa", linewidth=0.8, gid=f"{kind}-value")
    panel.plot(
        places, limits, color="#222222", linestyle="--", linewidth=0.8, drawstyle="steps-mid"
    )
    for verdict, (mark, colour) in _MARKS.items():
        own = [i for i, look in enumerate(looks) if look.entry.verdict == verdict]
        if not own:
            continue
        # The first is for the legend, too: one entry a verdict, with how many there are.
        label = f"{verdict} ({len(own)})"
        with_value = [i for i in own if looks[i].entry.value is not None]
        without = [i for i in own if looks[i].entry.value is None]
        at_bottom: dict[str, Any] = {"transform": panel.get_xaxis_transform()}
        nowhere: dict[str, Any] = {}
        for chosen, heights, options in (
            (with_value, [values[i] for i in with_value], nowhere),
            (without, [_BOTTOM] * len(without), at_bottom),
        ):
            if chosen:
                panel.plot(
                    [places[i] for i in chosen],
                    heights,
                    linestyle="none",
                    marker=mark,
                    markersize=4,
                    color=colour,
                    label=label,
                    gid=f"{kind}-{verdict}",
                    **options,
                )
                label = "_nolegend_"
    _write_actions(panel, looks, places)
    panel.set_ylabel(f"{kind}\n{what}")
    panel.margins(y=0.25)
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _write_actions(panel: Axes, looks: Sequence[Look], places: Sequence[Any]) -> None:
    """Write what follows above its window, once where it repeats."""
    before = ""
    for look, place in zip(looks, places, strict=True):
        if look.action:
            panel.axvline(place, color="#cc3311", linewidth=0.5, alpha=0.4)
        if look.action and look.action != before:
            panel.annotate(
                look.action,
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                va="top",
                fontsize=7,
                color="#cc3311",
            )
        before = look.action


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
