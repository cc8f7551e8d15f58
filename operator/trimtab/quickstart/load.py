"""A steady load of digits: an open loop, so that a slow server does not slow the users down.

Each request is one image of the traffic pool, rotated if asked for. The true label goes back with
the token of the answer to the metrics port, for the share of answers that are labelled.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab.quickstart.connections import Connections, NoAnswer, NotSent
from trimtab.quickstart.digits import Angles, Pool, rotate_images
from trimtab.quickstart.tally import Record

_MOST_IN_FLIGHT = 2000


@dataclass
class Dials:
    """What may be turned while it runs. rate: requests a second; labels: share sent back."""

    rate: float = 50.0
    labels: float = 1.0
    angles: Angles = Angles()  # noqa: RUF009 - frozen
    is_paused: bool = False

    def turn(self, changes: dict[str, Any]) -> None:
        """Apply `rate`, `labels`, `rotate`, `paused`; raise ValueError and change nothing."""
        unknown = set(changes) - {"rate", "labels", "rotate", "paused"}
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]}: rate, labels, rotate and paused can be set")
        rate = float(changes.get("rate", self.rate))
        labels = float(changes.get("labels", self.labels))
        angles = Angles.parse(str(changes["rotate"])) if "rotate" in changes else self.angles
        if not 0 < rate <= 5000 or not 0 <= labels <= 1:
            raise ValueError("rate lies above 0 and up to 5000, labels from 0 to 1")
        self.rate, self.labels, self.angles = rate, labels, angles
        self.is_paused = bool(changes.get("paused", self.is_paused))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as `turn` takes them."""
        return {
            "rate": self.rate,
            "labels": self.labels,
            "rotate": str(self.angles),
            "paused": self.is_paused,
        }


class Load:
    """Sends until it is stopped; `record` says what came of it."""

    def __init__(
        self,
        pool: Pool,
        service: Connections,
        outcomes: Connections | None,
        dials: Dials,
        *,
        model: str = "digits",
        input_name: str = "image",
        label_delay_seconds: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.dials, self.record = dials, Record()
        self._pool, self._service, self._outcomes = pool, service, outcomes
        self._path = f"/v2/models/{model}/infer"
        self._input_name = input_name
        self._label_delay_seconds = label_delay_seconds
        self._random = np.random.default_rng(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        rotate_images(pool.images[:1], 1.0)  # loads scipy now rather than between two requests

    async def run(self, seconds: float | None, say: Callable[[dict[str, Any]], None]) -> None:
        """Send for `seconds` (None: for ever), saying one line a second; then wait for the rest."""
        speaker = asyncio.create_task(self._speak(say))
        try:
            await self._send_for(seconds)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=30)
        finally:
            speaker.cancel()
        say(self._line())

    async def close(self) -> None:
        """Close the idle connections."""
        await self._service.close()
        if self._outcomes is not None:
            await self._outcomes.close()

    async def _send_for(self, seconds: float | None) -> None:
        """Keep to the schedule; after a stall of more than a second it starts anew from now."""
        ends = None if seconds is None else time.monotonic() + seconds
        due = time.monotonic()
        while ends is None or time.monotonic() < ends:
            if self.dials.is_paused:
                await asyncio.sleep(0.05)
                due = time.monotonic()
                continue
            now = time.monotonic()
            if due > now:
                await asyncio.sleep(due - now)
            due = max(due + 1 / self.dials.rate, now - 1)
            if len(self._tasks) < _MOST_IN_FLIGHT:
                self._start(self._ask())

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self) -> None:
        row = int(self._random.integers(len(self._pool)))
        body = self._body(row)
        for tally in self.record.both():
            tally.sent += 1
        began = time.monotonic()
        try:
            answer = await self._service.post(self._path, body)
        except NoAnswer as error:
            for tally in self.record.both():
                tally.unsent += isinstance(error, NotSent)
                tally.lost += not isinstance(error, NotSent)
            return
        milliseconds = 1000 * (time.monotonic() - began)
        for tally in self.record.both():
            tally.answer(answer.status, milliseconds)
            tally.retried += answer.retried
        if answer.status == 200:
            await self._judge(answer.body, int(self._pool.labels[row]))

    def _body(self, row: int) -> bytes:
        image = self._pool.images[row : row + 1]
        if self.dials.angles != Angles():
            image = rotate_images(image, self.dials.angles.draw(1, self._random))
        tensor = {
            "name": self._input_name,
            "shape": [1, image.shape[1]],
            "datatype": "FP64",
            "data": np.round(image[0], 4).tolist(),
        }
        return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()

    async def _judge(self, body: bytes, actual: int) -> None:
        try:
            version, predicted, token = _read(json.loads(body))
        except (ValueError, LookupError, TypeError, AttributeError):
            for tally in self.record.both():
                tally.malformed += 1
            return
        for tally in self.record.both():
            tally.prediction(version, predicted == str(actual), time.time())
        if token and self._outcomes is not None and self._random.random() < self.dials.labels:
            await asyncio.sleep(self._label_delay_seconds)
            await self._label(self._outcomes, token, actual)

    async def _label(self, outcomes: Connections, token: str, actual: int) -> None:
        body = json.dumps([{"token": token, "actual": [actual]}]).encode()
        try:
            is_taken = (await outcomes.post("/outcomes", body)).status < 300
        except NoAnswer:
            is_taken = False
        for tally in self.record.both():
            tally.labelled += is_taken
            tally.refused += not is_taken

    async def _speak(self, say: Callable[[dict[str, Any]], None]) -> None:
        due = time.monotonic()
        while True:
            due += 1
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            say(self._line())

    def _line(self) -> dict[str, Any]:
        return self.record.close_second({"time": round(time.time(), 3)} | self.dials.to_json())


def _read(answer: dict[str, Any]) -> tuple[str, str, str | None]:
    """Return version, predicted class and token of an answer."""
    predicted = {one["name"]: one["data"] for one in answer["outputs"]}["class"][0]
    token = answer.get("parameters", {}).get("trimtab_token")
    return str(answer["model_version"]), str(predicted), token
