"""Rounds: the pods of one Deployment are read together, and gates see them as of one moment.

A round is over when each process that it asked has answered or failed. What it showed holds for
gates only if of every revision at least half of the processes were seen; otherwise all revisions
stand still, so that no side is judged against a frozen one. What hits both at once then cancels.
They do so for a minute of one revision's silence; then rounds go on without it, or one dead pod
would blind gates and guard for good. Whoever compares the two has to see that it lags.

An answer that is later than the others shows a later moment: what went wrong for everybody between
the two would be held against its side alone. Such an answer waits for the next round, and so does
all of a round in which one revision was seen later than another.

A backend reads each process at a phase of its own: there is no moment of which all were seen. A
look at one is a round as of the last moment up to which all have been read. Of each process gates
then see two readings, the last one before that moment and the first one after it: whoever compares
two revisions can so take either of them for the one that is ahead.
"""

from collections import deque
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean, median_low

from trimtab.contract.metrics import REQUEST_SECONDS, Series, SeriesKey
from trimtab.stats.counts import merged

SET_ASIDE_AFTER = 3
"""Rounds after which a process that is unseen is no longer waited for."""
LATE_SECONDS = 0.5
"""An answer is late that is further from most others."""
APART_SECONDS = 0.1
APART_OF_INTERVAL = 0.02
"""Revisions are seen as of one moment if they are no further apart than the larger of both: that
much of a round with nothing but errors is about what margins allow."""
MOST_LATE = 3
"""Rounds in a row that wait for better ones; then answers are taken as they are."""
WAITED_SECONDS = 60.0
"""Of rounds that do not hold since a revision was not seen; then they hold without it.

Longer than an outage of both that takes one side's metrics along, which is to cancel."""
STALLED_INTERVALS = 2.5
"""A process that was not read for so many intervals, while most were, is no longer waited for: more
than one reading that is lost."""
MOST_READINGS = 16
"""Of one process that are kept, while others have not been read as late."""
MOST_OPEN = 16
"""Rounds under way at once, where answers take longer than an interval; the oldest is closed."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What a process had counted at a moment, in Unix seconds."""

    at: float
    counted: Series
    is_warm: bool


@dataclass
class Place:
    """Where one process stands. `seen`: the last round that it counts in; None: in none yet."""

    revision: str
    settled: Series = field(default_factory=dict)
    """What gates see of it."""
    seen: int | None = None
    unseen: int = 0
    """Rounds in a row without an answer of it."""
    late: int = 0
    """Rounds in a row that hold, and whose moment its answers missed."""
    is_gone: bool = False
    warm: Series | None = None
    """How long its requests had taken in the round that found it warm; None while it is cold."""
    raw: Series = field(default_factory=dict)
    """What it had counted by the last round that counts."""
    left_out: dict[SeriesKey, float] = field(default_factory=dict)
    """What it counted while it was set aside: no evidence for anybody."""
    read: deque[_Read] = field(default_factory=lambda: deque(maxlen=MOST_READINGS))
    """By a backend: the last reading that gates see, and those that came after it."""
    read_at: float | None = None
    """When it was read that gates see, in Unix seconds."""
    ahead: Series | None = None
    """Of the first reading after the moment of gates; None where it was read at that moment."""


@dataclass
class _Round:
    number: int
    asked: set[str]
    waiting: set[str]
    interval: float
    is_look: bool = False
    """Whether a backend is asked, which has read each process at a moment of its own."""
    shown: dict[str, Series] = field(default_factory=dict)
    warm: set[str] = field(default_factory=set)
    times: dict[str, float] = field(default_factory=dict)
    """When answers came, in Unix seconds."""

    def late(self) -> set[str]:
        """Return who shows another moment than most."""
        if not self.times:
            return set()
        moment = median_low(self.times.values())
        return {process for process, at in self.times.items() if abs(at - moment) > LATE_SECONDS}


class Rounds:
    """The rounds of one Deployment."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.settled = 0
        """The number of the last round that holds for gates."""
        self.ended = 0
        """How many rounds ended, those that do not hold too."""
        self._last = 0
        self._late = 0
        """Rounds in a row that would hold, but for late answers."""
        self._is_timed = False
        """Whether it is known when the answers of the last round that holds came."""
        self._waited: dict[str, int] = {}
        """By revision, the rounds that did not hold for want of it, less those that saw it."""
        self._left: set[str] = set()
        """Revisions without which the last round holds."""
        self._open: deque[_Round] = deque()
        self._first_asked: dict[str, int] = {}
        """By process that counts in no round yet: the first round that asked it."""
        self._moment: float | None = None
        """As of which the last look at a backend was, in Unix seconds."""
        self._usual_step = 0.0
        """Seconds between two readings of one process, by the last look."""
        self._longest = 0.0
        """Seconds between two readings beyond which what came between is no evidence."""
        self._is_silent = False
        """Whether too few answered in a round since the last one that holds."""
        self._silent_until = 0
        """The round that ended the last such time."""

    def begin(
        self, processes: Iterable[str], interval: float = 0.0, *, is_look: bool = False
    ) -> None:
        """Ask these processes together, every `interval` seconds; is_look: ask a backend."""
        asked = set(processes)
        for process in asked & self.places.keys():
            self.places[process].is_gone = False
        self._last += 1
        for process in asked - self.places.keys():
            self._first_asked.setdefault(process, self._last)
        self._open.append(_Round(self._last, asked, set(asked), interval, is_look))
        if len(self._open) > MOST_OPEN:
            self._open[0].waiting.clear()
        self._settle()

    def answered(
        self,
        process: str,
        revision: str,
        counted: Series,
        at: float | None = None,
        *,
        is_warm: bool = True,
    ) -> None:
        """Take what a process has counted; one that no round asked is taken as it comes.

        at: Unix seconds; None: of the round's moment. is_warm: whether its first requests are over.
        """
        self.places.setdefault(process, Place(revision))
        asking = [one for one in self._open if process in one.asked]
        if not asking:
            self._last += not self._open
            self._show(process, counted, self._last, is_warm=is_warm)
            self.settled = max(self.settled, self._last if not self._open else 0)
            return
        one = next((one for one in asking if process in one.waiting), asking[-1])
        one.shown[process] = counted
        if at is not None:
            one.times[process] = at
        if is_warm:
            one.warm.add(process)
        one.waiting.discard(process)
        self._settle()

    def read(
        self, process: str, revision: str, counted: Series, at: float, *, is_warm: bool = True
    ) -> None:
        """Take what a backend has read of a process at a time, in Unix seconds, in order.

        It shows when the look is over.
        """
        place = self.places.setdefault(process, Place(revision))
        if any(one.is_look for one in self._open):
            place.read.append(_Read(at, counted, is_warm))
        else:
            self.answered(process, revision, counted, is_warm=is_warm)

    def failed(self, process: str) -> None:
        """A process had no answer."""
        for one in self._open:
            if process in one.waiting:
                one.waiting.discard(process)
                break
        self._settle()

    def gone(self, process: str) -> None:
        """Wait no more for a process that ended; what it showed stays."""
        for one in self._open:
            one.waiting.discard(process)
            one.asked.discard(process)
        if process in self.places:
            self.places[process].is_gone = True
        self._first_asked.pop(process, None)
        self._settle()

    def forget(self, process: str) -> None:
        """Drop a process that ended long ago."""
        self.places.pop(process, None)

    def shown(self, process: str) -> Series:
        """Return what gates see of a process; nothing before its first round is over."""
        place = self.places.get(process)
        return place.settled if place is not None else {}

    def ahead(self, process: str) -> Series | None:
        """Return the same of a reading after the moment of gates; None: it is of that moment."""
        place = self.places.get(process)
        return place.ahead if place is not None else None

    def read_at(self, process: str) -> float | None:
        """Return when a backend read what gates see of a process, in Unix seconds."""
        place = self.places.get(process)
        return place.read_at if place is not None else None

    def lags(self, process: str) -> bool:
        """Whether gates see it as of an earlier moment than others; what comes next is of both.

        Not one that is always late: it would never count.
        """
        place = self.places.get(process)
        if place is None or place.is_gone or place.seen is None:
            return False
        if not self._is_timed and place.revision not in self._left:
            return False
        return place.seen < self.settled and place.late < MOST_LATE

    def is_short(self, process: str) -> bool:
        """Whether what gates see of it leaves out what it counted while it was set aside."""
        place = self.places.get(process)
        return place is not None and bool(place.left_out)

    def left_out(self, process: str) -> Series:
        """Return what it counted while it was set aside."""
        place = self.places.get(process)
        return place.left_out if place is not None else {}

    def restate(self, process: str, counted: Series) -> None:
        """A part of what a process had counted turned out to be another's."""
        place = self.places.get(process)
        if place is not None:
            place.raw = place.settled = counted
            place.ahead = None if place.ahead is None else counted
            place.read.clear()

    def warm(self, process: str) -> Series | None:
        """Return what gates saw of a process when it was warm first; None while it is cold."""
        place = self.places.get(process)
        return place.warm if place is not None else None

    def end(self) -> None:
        """Close every round under way: nobody will answer any more."""
        for one in self._open:
            one.waiting.clear()
        self._settle()

    def _settle(self) -> None:
        while self._open and not self._open[0].waiting:
            self.ended += 1
            self._close(self._open.popleft())

    def _close(self, one: _Round) -> None:
        if one.is_look and not self._is_new_moment(one):
            return
        for process, place in self.places.items():
            place.unseen = 0 if process in one.shown else place.unseen + 1
        shown = one.shown.keys() & self.places.keys()
        in_time = shown if self._late >= MOST_LATE else self._in_time(one, shown)
        unseen = self._unseen(shown)
        if unseen and not shown:
            self._is_silent = True
            return  # nobody answers us: that is ours, not theirs
        if self._awaits(unseen, one.interval):
            self._is_silent = True
            return
        if not self._unseen(in_time) <= unseen:
            self._late += 1
            return
        self._late, self._left = 0, unseen
        for process in shown:
            place = self.places[process]
            if process not in in_time:
                place.late += 1
                continue
            place.late = 0
            if not one.is_look:
                place.read_at = None
                self._show(process, one.shown[process], one.number, is_warm=process in one.warm)
        if one.is_look:
            self._show_around(shown, one.number)
        if self._is_silent:
            self._is_silent, self._silent_until = False, one.number
        self.settled = one.number
        self._is_timed = one.is_look or bool(one.times)

    def _is_new_moment(self, one: _Round) -> bool:
        """Return whether all have been read further than at the last look; note who shows then.

        Otherwise there was no round.
        """
        places = ((process, self.places[process]) for process in one.asked & self.places.keys())
        read = {process: place.read for process, place in places if place.read}
        if not read:
            self._had_none(one)
            return False
        last = {process: readings[-1].at for process, readings in read.items()}
        usual = max(one.interval, self._usual_step)
        waited_for = median_low(last.values()) - STALLED_INTERVALS * usual
        moment, before = min(at for at in last.values() if at >= waited_for), self._moment
        if before is not None and moment <= before:
            self._had_none(one)
            return False
        steps = [
            readings[-1].at - readings[-2].at for readings in read.values() if len(readings) > 1
        ]
        self._longest = (SET_ASIDE_AFTER + 2) * usual
        if before is not None and moment - before > self._longest:
            self._is_silent = True
        elif steps:
            self._usual_step = median_low(steps)
        self._moment = moment
        one.shown = {p: read[p][-1].counted for p, at in last.items() if at >= moment}
        return True

    def _had_none(self, one: _Round) -> None:
        """A look that has not seen all further was no round."""
        self._last -= 1
        for other in (one, *self._open):
            other.number -= 1

    def _show_around(self, shown: Container[str], number: int) -> None:
        """Show those who were read up to the moment of this look, and what the gone left."""
        moment = self._moment
        assert moment is not None
        for process, place in self.places.items():
            if not place.read or not (place.is_gone or process in shown):
                continue
            while len(place.read) > 1 and place.read[1].at <= moment:
                place.read.popleft()
            behind = place.read[0]
            if behind.at > moment:
                continue  # born since, and in no moment yet
            ahead = behind if behind.at == moment or len(place.read) == 1 else place.read[1]
            if ahead.at - behind.at > self._longest:
                ahead = behind  # what came between will be left out
            is_aside = place.read_at is not None and behind.at - place.read_at > self._longest
            place.read_at = behind.at
            self._show(process, behind.counted, number, is_warm=behind.is_warm, is_aside=is_aside)
            left_out = place.left_out
            place.ahead = _without(ahead.counted, left_out) if left_out else ahead.counted

    def _in_time(self, one: _Round, shown: Collection[str]) -> set[str]:
        """Return who was seen as of one moment; nobody, if it is not that of all revisions."""
        late = one.late()
        found = {p for p in shown if p not in late or self.places[p].late >= MOST_LATE}
        times: dict[str, list[float]] = {}
        for process in found & one.times.keys():
            times.setdefault(self.places[process].revision, []).append(one.times[process])
        moments = [fmean(of_one) for of_one in times.values()]
        apart = max(APART_SECONDS, APART_OF_INTERVAL * one.interval)
        return found if not moments or max(moments) - min(moments) <= apart else set()

    def _unseen(self, shown: Container[str]) -> set[str]:
        """Return the revisions of whose processes that should be seen fewer than half were."""
        seen: dict[str, list[bool]] = {}
        aside: set[str] = set()
        for process, place in self.places.items():
            if place.is_gone:
                continue
            if place.unseen > SET_ASIDE_AFTER:
                aside.add(place.revision)
            else:
                seen.setdefault(place.revision, []).append(process in shown)
        lacking = {revision for revision, of_one in seen.items() if 2 * sum(of_one) < len(of_one)}
        return lacking | (aside - seen.keys())

    def _awaits(self, unseen: Collection[str], interval: float) -> bool:
        """Note who was not seen in a round; return whether the round waits for one of them.

        What a revision has cost it gives back one by one, so that one that comes and goes costs
        no more than one that stays away.
        """
        most = max(SET_ASIDE_AFTER + 1, ceil(WAITED_SECONDS / interval) if interval > 0 else 0)
        before, self._waited = self._waited, {}
        for revision in {place.revision for place in self.places.values() if not place.is_gone}:
            step = 1 if revision in unseen else -1
            self._waited[revision] = min(most, max(0, before.get(revision, 0) + step))
        return any(before.get(revision, 0) < most for revision in unseen)

    def _show(
        self, process: str, counted: Series, number: int, *, is_warm: bool, is_aside: bool = False
    ) -> None:
        place = self.places[process]
        before = self.settled if place.seen is None else place.seen
        is_aside |= before > 0 and number - before > SET_ASIDE_AFTER + 1
        if place.seen is None:
            # It may have served in a silence whose end others showed before it: of what both
            # sides did in it, its own part alone would be left.
            first = self._first_asked.pop(process, number)
            is_aside |= first <= self._silent_until
        if is_aside:
            place.left_out = _grown(place.left_out, place.raw, counted)
        place.raw, place.seen, place.ahead = counted, number, None
        place.settled = _without(counted, place.left_out) if place.left_out else counted
        if is_warm and place.warm is None:
            place.warm = {
                series: value
                for series, value in place.settled.items()
                if series[0].startswith(REQUEST_SECONDS)
            }


def _grown(
    left_out: Mapping[SeriesKey, float], before: Series, now: Series
) -> dict[SeriesKey, float]:
    grown = {key: value - before.get(key, 0.0) for key, value in now.items()}
    return merged(left_out, {key: value for key, value in grown.items() if value})


def _without(counted: Series, left_out: Mapping[SeriesKey, float]) -> Series:
    return {key: value - left_out.get(key, 0.0) for key, value in counted.items()}
