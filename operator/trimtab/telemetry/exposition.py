"""The Prometheus text format, read strictly and fast.

A series' name and labels stand on thousands of lines that repeat at every scrape of every pod of a
version, so each distinct text before the value is parsed once and remembered; afterwards a line
costs one look-up and one `float`. Measured on 3,000 series (785 KB) on one core: the parser of
prometheus_client 98 ms, this one 39 ms at first and 3 ms from then on.

What is remembered of a line is its series with digest and baseline, as `trimtab_model_info` of the
same page gives them, and it is remembered for pages that give the same. So adding them costs
nothing at the next scrape, and no page explains a series of another.

Source: Prometheus exposition formats, text 0.0.4.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from trimtab.contract.identity import (
    MOST_VERSIONS,
    ContradictoryIdentity,
    Identities,
    UnknownIdentity,
    Version,
    identified,
    identities_of,
)
from trimtab.contract.metrics import MODEL_INFO, PROCESS_START, SUMS, Labels, SeriesKey
from trimtab.errors import TrimtabError

PREFIX = "trimtab_"
MAX_SERIES = 20_000
"""Of one page; a version with 200 watched features and labels by hour has 17,000."""
MAX_LINE_CHARACTERS = 4_096
MAX_LABELS = 32
MAX_OWN_LABELS = 12
"""Of a series that is kept: those that version and metric need are 7."""
MAX_NEW_BYTES = 20 * 1024 * 1024
"""What the series of one page may cost that were not met before: those of 17,000 need 16."""
LABEL_BYTES = 64
"""That a label of a series costs, and `PAIR_BYTES` more where its name and value are new."""
PAIR_BYTES = 160
LINE_BYTES = 200
VERSION_BYTES = 700
"""That a version costs in what a page says of digests, beside the texts."""
LATEST = 1e11
"""Unix seconds, some three thousand years on: later ones are no times of a process."""
LARGEST = 1e100
"""A sum of values beyond this would make what is computed of it infinite."""
LARGEST_COUNT = 2.0**53
"""Beyond, a float cannot count by one, and differences of counts are not exact."""
_MAX_REMEMBERED_BYTES = 48 * 1024 * 1024
"""What is beyond is parsed anew at each scrape, ten times slower."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(
    r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\[\\n"][^"\\]*)*)"[ \t]*'
)
_VALUE = re.compile(r"[ \t]+([^ \t]+)(?:[ \t]+(-?[0-9]+))?[ \t]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(.)")
_NO_TEXT_BYTES = sys.getsizeof("")


class MalformedExpositionError(TrimtabError):
    """What came is not Prometheus text; the message names the line."""


class UnidentifiedError(TrimtabError):
    """Nothing says which artifact a series is of; the message says what to export."""


class NotFiniteError(TrimtabError):
    """A series of ours is NaN or infinite; the message names it."""


@dataclass(frozen=True)
class Exposition:
    """Series of ours by (name, labels), all finite, and the start of the process, Unix seconds.

    Each series of a version has its digest and baseline, wherever the page says them.
    """

    values: dict[SeriesKey, float]
    process_start: float | None


_Remembered = dict[str, SeriesKey | None]
"""Series by the text before the value; None for one that is not ours."""
_Explained = frozenset[tuple[Version, Labels]]
"""All that a page says of digests."""


class Parser:
    """Parses expositions; remembers the series it has met. Not bound to one process or thread."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._remembered: dict[_Explained, _Remembered] = {}
        self._infos: dict[str, Labels] = {}
        """Labels of `trimtab_model_info` by the line."""
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self._spent = 0
        """Bytes, about, that what is remembered takes."""

    def parse(self, text: str) -> Exposition:
        """Series named `trimtab_*` and the process start; others are checked and left out.

        Raises MalformedExpositionError for anything that is not the text format, a repeated
        series, a line beyond all measure, more than `max_series` of ours, or a version that is said
        to be two; UnidentifiedError where nothing says the digest of a series; NotFiniteError if
        one of ours is NaN, infinite or too large to count with.
        """
        if self._spent > _MAX_REMEMBERED_BYTES:
            self._forget()  # also where what was read last was refused before it was looked at
        identities = self._identities(text)
        explained = frozenset(identities.items())
        remembered = self._remembered_with(explained)
        values: dict[SeriesKey, float] = {}
        kept = cost = 0
        for number, line in enumerate(text.split("\n"), 1):
            if not line or line[0] == "#" or line.isspace():
                continue
            if len(line) > MAX_LINE_CHARACTERS:
                raise MalformedExpositionError(
                    f"line {number} has more than {MAX_LINE_CHARACTERS} characters"
                )
            head, _, tail = line.rpartition(" ")
            if head in remembered and _NUMBER.fullmatch(tail):
                key = remembered[head]
                value = float(tail)
            else:
                key, value, bytes_ = self._read(line.rstrip("\r"), number, identities, remembered)
                # Of this page alone: other threads spend, too.
                cost += bytes_ if key is not None else 0
                if cost > MAX_NEW_BYTES:
                    raise MalformedExpositionError("its series have too many or too long labels")
                if self._spent > _MAX_REMEMBERED_BYTES:
                    self._forget()
                    remembered = self._remembered_with(explained)
            if key is None:
                continue
            if not is_countable(key[0], value):
                raise NotFiniteError(f"{_written(key)} is {value}")
            values[key] = value
            kept += 1
            if kept > self._max_series:
                raise MalformedExpositionError(f"more than {self._max_series} series")
        if kept != len(values):
            raise MalformedExpositionError("a series is given twice")
        return _with_start(values)

    def parse_bytes(self, body: bytes) -> Exposition:
        """The same for UTF-8 bytes; other bytes are malformed."""
        try:
            return self.parse(body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise MalformedExpositionError(f"not UTF-8 at byte {error.start}") from error

    def _identities(self, text: str) -> Identities:
        """What the page says of digests, wherever it stands in it."""
        lines = islice(_lines_of(MODEL_INFO, text), MOST_VERSIONS + 1)
        found = (labels for line in lines if (labels := self._info(line)) is not None)
        try:
            return identities_of(found)
        except ContradictoryIdentity as error:
            raise MalformedExpositionError(str(error)) from error

    def _info(self, line: str) -> Labels | None:
        """Labels of one line, None where it is of another metric or will be refused anyway."""
        known = self._infos.get(line)
        if known is not None:
            return known
        name = _NAME.match(line)
        if name is None or name[0] != MODEL_INFO or len(line) > MAX_LINE_CHARACTERS:
            return None
        try:
            labels, end = read_labels(line, name.end(), 0)
        except MalformedExpositionError:
            return None
        if len(labels) > MAX_OWN_LABELS:
            return None
        rest = _VALUE.fullmatch(line.rstrip("\r"), end)
        if rest is not None and rest[2] is None:  # one with a time does not come again
            self._infos[line] = labels
            texts = _bytes_of(line) + sum(_bytes_of(value) for _, value in labels)
            self._spent += LINE_BYTES + texts + (LABEL_BYTES + PAIR_BYTES) * len(labels)
        return labels

    def _remembered_with(self, explained: _Explained) -> _Remembered:
        """What is remembered for pages that say this of digests."""
        if explained not in self._remembered:
            self._spent += LINE_BYTES + VERSION_BYTES * len(explained)
        return self._remembered.setdefault(explained, {})

    def _read(
        self, line: str, number: int, identities: Identities, remembered: _Remembered
    ) -> tuple[SeriesKey | None, float, int]:
        """The series of a line, its value, and the bytes that both take, about."""
        name = _NAME.match(line)
        if name is None:
            raise _malformed(number, line)
        labels, end = read_labels(line, name.end(), number)
        rest = _VALUE.fullmatch(line, end)
        if rest is None or not (_NUMBER.fullmatch(rest[1]) or _SPECIAL.fullmatch(rest[1])):
            raise _malformed(number, line)
        is_ours = name[0].startswith(PREFIX) or (name[0] == PROCESS_START and not labels)
        if is_ours and len(labels) > MAX_OWN_LABELS:
            raise _malformed(number, line)
        key, pairs = self._identified((name[0], labels), identities) if is_ours else (None, 0)
        head = line.rstrip(" \t").rpartition(" ")[0]
        own = LINE_BYTES + _bytes_of(head) + (LABEL_BYTES * len(key[1]) if key is not None else 0)
        # A line with a time is not remembered, but the pairs of its labels are; nor is one with a
        # tab before its value, for its last space may stand in a label.
        is_new = rest[2] is None and len(head) >= end and head not in remembered
        if is_new:
            remembered[head] = key
        self._spent += pairs + (own if is_new else 0)
        return key, float(rest[1]), pairs + own

    def _identified(self, key: SeriesKey, identities: Identities) -> tuple[SeriesKey, int]:
        """The series with its digests, and the bytes that pairs not met before take."""
        try:
            name, labels = identified(key, identities)
        except UnknownIdentity as error:
            raise UnidentifiedError(str(error)) from error
        shared, cost = self._shared(labels)
        return (name, shared), cost

    def _shared(self, labels: Labels) -> tuple[Labels, int]:
        """Return the labels, what is the same in many series only once, and what is new of them."""
        cost, pairs = 0, []
        for pair in labels:
            known = self._pairs.get(pair)
            if known is None:
                known = self._pairs[pair] = pair
                cost += PAIR_BYTES + _bytes_of(pair[0]) + _bytes_of(pair[1])
            pairs.append(known)
        return frozenset(pairs), cost

    def _forget(self) -> None:
        self._remembered, self._infos, self._pairs, self._spent = {}, {}, {}, 0


def _lines_of(name: str, text: str) -> Iterator[str]:
    """Lines that begin so."""
    at = text.find(name)
    while at >= 0:
        end = text.find("\n", at)
        end = end if end >= 0 else len(text)
        if at == 0 or text[at - 1] == "\n":
            yield text[at:end]
        at = text.find(name, end)


def _with_start(values: dict[SeriesKey, float]) -> Exposition:
    start = values.pop((PROCESS_START, frozenset()), None)
    if start is not None and not 0 <= start <= LATEST:
        raise MalformedExpositionError(f"{PROCESS_START} is {start:g}, and no time")
    return Exposition(values, start)


def _bytes_of(text: str) -> int:
    """That its characters take: one beyond ASCII makes all of them take up to four."""
    return sys.getsizeof(text) - _NO_TEXT_BYTES


def is_countable(name: str, value: float) -> bool:
    """Whether a value of a metric is finite, and small enough to count with, or to sum up."""
    if -LARGEST_COUNT <= value <= LARGEST_COUNT:
        return True
    is_count = not (name.endswith("_sum") or name in SUMS or name == PROCESS_START)
    return not is_count and -LARGEST <= value <= LARGEST


def read_labels(line: str, start: int, number: int) -> tuple[Labels, int]:
    """Labels from the brace at or after `start`, and the position behind them.

    number: of the line, for MalformedExpositionError.
    """
    position = start
    while position < len(line) and line[position] in " \t":
        position += 1
    if position >= len(line) or line[position] != "{":
        return frozenset(), start
    position += 1
    found: dict[str, str] = {}
    while True:
        label = _LABEL.match(line, position)
        if label is None:
            break
        if label[1] in found or len(found) == MAX_LABELS:
            raise _malformed(number, line)
        found[label[1]] = _unescaped(label[2])
        position = label.end()
        if position >= len(line) or line[position] != ",":
            break
        position += 1
    if position >= len(line) or line[position] != "}":
        raise _malformed(number, line)
    return frozenset(found.items()), position + 1


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)


def _written(key: SeriesKey) -> str:
    name, labels = key
    return f"{name}{{{', '.join(f'{k}={v}' for k, v in sorted(labels))[:120]}}}"


def _malformed(number: int, line: str) -> MalformedExpositionError:
    return MalformedExpositionError(f"line {number} is not Prometheus text: {line[:60]!r}")
