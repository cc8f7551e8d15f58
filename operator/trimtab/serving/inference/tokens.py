"""The label token of each answer, with the other version's answer where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from trimtab.contract.artifact import Signature
from trimtab.contract.pairing import PairWriter, Sealer
from trimtab.contract.token import ID_BYTES, MAX_ROWS, TokenWriter
from trimtab.serving.counting.exposition import Family
from trimtab.serving.counting.outcomes import Identity
from trimtab.serving.counting.pairs import PairedAnswers
from trimtab.serving.model.base import Prediction, no_bins

_IDS_DRAWN: Final = 256


class Tokens:
    """Makes the label token of an answer; belongs to the event loop.

    `hour_now` returns the Unix hour.
    """

    def __init__(
        self, key: bytes, identity: Identity, signature: Signature, hour_now: Callable[[], int]
    ) -> None:
        self._identity = identity
        self._classes = signature.classes
        self._hour_now = hour_now
        self._pairing: _Pairing | None = None
        self._writer = TokenWriter(
            key,
            digest=identity.digest,
            baseline=identity.baseline,
            model=identity.model,
            version=identity.version,
            classes=signature.classes,
        )
        self.most_rows = self._writer.most_rows
        """Rows that a token covers; 0: class names are so long that there is none."""
        self._ids = b""

    def pair_with(self, sealer: Sealer, against: str, classes: Sequence[str]) -> list[int]:
        """Carry the answers of the version `against`, which has these classes, from now on.

        Returns for each number of rows, up to that of a token, how many of them are paired. May be
        called in any thread: it is one assignment.
        """
        writer = PairWriter(sealer, against=against, own=self._classes, other=classes)
        answers = PairedAnswers(
            self._identity.labels, against, self._classes, classes, writer.is_named
        )
        fits = [self._writer.paired_rows(rows, writer) for rows in range(MAX_ROWS + 1)]
        self._pairing = _Pairing(writer, answers, fits)
        return fits

    def snapshot(self) -> Callable[[], list[Family]]:
        """Return a function that renders the pairs of now later, in another thread."""
        return list if self._pairing is None else self._pairing.answers.snapshot()

    def of(self, prediction: Prediction, rows: slice) -> str:
        """Return the token of `rows` of a prediction."""
        id = self._next_id()
        if prediction.predicted is None:
            values = [] if prediction.values is None else prediction.values[rows].tolist()
            return self._writer.values(values, hour=self._hour_now(), id=id)
        bins = no_bins(rows.stop - rows.start)
        if prediction.bins is not None:
            bins = prediction.bins[rows].tobytes()
        indices = prediction.predicted[rows].tolist()
        pairing = self._pairing
        if pairing is not None and prediction.other is not None:
            paired = pairing.fits[min(len(indices), MAX_ROWS)]
            others = prediction.other[rows][:paired].tolist()
            if others and min(others) >= 0:
                pairing.answers.add(indices[:paired], others)
                return self._writer.paired(
                    indices, bins, others, pairing.writer, hour=self._hour_now(), id=id
                )
        return self._writer.classes(indices, bins, hour=self._hour_now(), id=id)

    def _next_id(self) -> bytes:
        if not self._ids:
            self._ids = os.urandom(ID_BYTES * _IDS_DRAWN)
        id, self._ids = self._ids[:ID_BYTES], self._ids[ID_BYTES:]
        return id


class _Pairing(NamedTuple):
    """With whom; `fits` says for each number of rows how many of them are paired."""

    writer: PairWriter
    answers: PairedAnswers
    fits: list[int]
