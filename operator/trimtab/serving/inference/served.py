"""Everything about the one model that this container serves, put together once."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from time import monotonic
from typing import Final

from trimtab.contract.artifact import Baseline, Signature
from trimtab.contract.cardinality import MOST_SERIES, hours_told
from trimtab.contract.pairing import Sealer
from trimtab.contract.token import check_key
from trimtab.serving.comparing.container import Container
from trimtab.serving.comparing.second import SecondModel
from trimtab.serving.counting.comparison import Comparison
from trimtab.serving.counting.outcomes import Identity, Outcomes
from trimtab.serving.counting.requests import RequestCounters
from trimtab.serving.counting.rows import CallCounters, FeatureCounters, ScoreCounters
from trimtab.serving.counting.thread import CountingThread
from trimtab.serving.errors import ModelFailed, SettingsInvalid, WarmUpFailed
from trimtab.serving.inference.joining import Joiner, Result, Work
from trimtab.serving.inference.outputs import Outputs
from trimtab.serving.inference.pace import Admission, Lag, Pace
from trimtab.serving.inference.recorded import check_recorded
from trimtab.serving.inference.room import check_room
from trimtab.serving.inference.samples import sample_rows
from trimtab.serving.inference.tokens import Tokens
from trimtab.serving.inference.validation import Inputs
from trimtab.serving.model.artifact import Artifact, bring_artifact
from trimtab.serving.model.base import Matrix, Model, Prediction
from trimtab.serving.model.load import load_model
from trimtab.serving.settings import ServingSettings

log = logging.getLogger(__name__)

WARM_UP_ROWS: Final = (1, 1, 8, 64, 1)
FRESH_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 0.8


def hour_now() -> int:
    """Return the Unix hour."""
    return int(time.time() // 3600)


class Loaded:
    """What the loader thread brings: verified artifact and model."""

    def __init__(self, settings: ServingSettings) -> None:
        self.key = read_key(settings)
        self.sealer = read_sealer(settings)
        container = Container()
        before = container.resident()
        self.artifact: Artifact = bring_artifact(settings)
        check_room(self.artifact, container)
        self.model: Model = load_model(self.artifact, trust_pickle=settings.trust_pickle)
        self.outputs = Outputs(
            self.artifact.signature, has_probabilities=self.model.has_probabilities
        )
        check_recorded(self.artifact, self.model)
        self.growth = max(0, container.most_resident() - before)
        """Bytes that this took at its peak."""
        self.compared: tuple[Artifact, Model] | None = None
        if settings.compare_uri and settings.compare_for == "shadow":
            other = bring_artifact(settings.of_compared())
            self.compared = other, load_model(other, trust_pickle=settings.trust_pickle)


def read_key(settings: ServingSettings) -> bytes | None:
    """Return the token key, or nothing where no file is named; raise SettingsInvalid."""
    file = settings.token_key_file
    if file is None:
        return None
    try:
        key = file.read_bytes()
        check_key(key)
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"TRIMTAB_TOKEN_KEY_FILE: {error}") from error
    return key


def read_sealer(settings: ServingSettings) -> Sealer | None:
    """Return what seals the answers of a second version, or nothing where no file is there.

    A key that cannot be used is said and costs the pairs, nothing else.
    """
    file = settings.token_seal_key_file
    if file is None or settings.token_key_file is None or not file.exists():
        return None
    try:
        key = file.read_bytes()
        if hmac.compare_digest(key, settings.token_key_file.read_bytes()):
            raise ValueError("it is the key that signs; another one is wanted")
        return Sealer(key)
    except (OSError, ValueError, ImportError) as error:
        log.error("TRIMTAB_TOKEN_SEAL_KEY_FILE: nothing is paired: %s", error)  # noqa: TRY400 - said whole
        return None


class Served:
    """The model with its validation, threads, counters and tokens. Made on the event loop."""

    def __init__(self, loaded: Loaded, settings: ServingSettings) -> None:
        artifact = loaded.artifact
        self.signature: Signature = artifact.signature
        self.baseline: Baseline = artifact.baseline
        self.manifest = artifact.manifest
        self.identity = Identity(
            settings.model, settings.version, artifact.digest, artifact.baseline.digest
        )
        self.inputs = Inputs(
            self.signature, settings.max_rows, keeps_whole=loaded.model.keeps_whole
        )
        self.outputs = loaded.outputs
        labels = self.identity.labels
        delay_hours = int(-(-settings.label_delay_seconds // 3600))
        hours = hours_told(settings.label_delay_seconds) if loaded.key is not None else 0
        features = FeatureCounters(self.signature, self.baseline, labels, hours_kept=hours)
        self.counting = CountingThread(
            features,
            ScoreCounters(
                self.signature,
                self.baseline,
                labels,
                hours_kept=hours,
                hour_now=hour_now,
                is_calibrated=loaded.model.is_calibrated,
            ),
            CallCounters(labels),
            Comparison(*loaded.compared, self.signature, labels) if loaded.compared else None,
        )
        self.token_format = 1 if loaded.sealer is None else 2
        self.second: SecondModel | None = None
        if settings.compare_uri and settings.compare_for == "outcomes":
            self.second = self._second(loaded, settings)
        self.joiner = Joiner(
            loaded.model.predict,
            self.counting.add,
            prepare=loaded.model.prepare_thread,
            join_rows=settings.join_rows,
            max_requests=settings.queue_requests,
            max_rows=settings.queue_rows,
            deadline_seconds=settings.deadline_seconds,
            queue_seconds=settings.queue_seconds,
            pace=(pace := Pace()),
            second=self.second,
        )
        self.admission = Admission(
            self.joiner.wait, Lag(), queue_seconds=settings.queue_seconds, pace=pace
        )
        self.tokens: Tokens | None = None
        self.outcomes: Outcomes | None = None
        if loaded.key is not None:
            self.tokens = Tokens(loaded.key, self.identity, self.signature, hour_now)
            self.outcomes = Outcomes(
                loaded.key,
                self.identity,
                self.signature.classes,
                delay_hours=delay_hours,
                hour_now=hour_now,
                sealer=loaded.sealer,
                room=MOST_SERIES - features.cardinality.without_labels,
            )
        self._hung_seconds = settings.hung_seconds
        self._probe_row = sample_rows(self.signature, self.baseline, 1)

    def _second(self, loaded: Loaded, settings: ServingSettings) -> SecondModel:
        sealer = loaded.sealer
        refused = ""
        if loaded.key is None:
            refused = "TRIMTAB_TOKEN_KEY_FILE: there are no tokens without a key"
        elif sealer is None:
            refused = "TRIMTAB_TOKEN_SEAL_KEY_FILE: there is no key to seal the other answer with"

        def ready(classes: list[str]) -> list[int]:
            if self.tokens is None or sealer is None:
                return [0]
            return self.tokens.pair_with(sealer, settings.compare_digest, classes)

        return SecondModel(
            settings,
            loaded.artifact,
            loaded.growth,
            lambda count: sample_rows(self.signature, self.baseline, count),
            ready=ready,
            refused=refused,
        )

    def begin_comparing(self, counters: RequestCounters) -> None:
        """Load the second model, if there is one to load; requests are counted apart meanwhile."""

        def settled() -> None:
            counters.is_disturbed = False

        def disturbed() -> None:
            counters.is_disturbed = True

        if self.second is not None and self.second.state == "waiting":
            counters.is_disturbed = True
            if not self.second.begin(settled, disturbed):
                settled()

    def sweep(self) -> None:
        """End what is over; called a few times a second."""
        self.joiner.sweep()
        if self.second is not None:
            self.second.sweep()

    def rest(self) -> None:
        """Do only what requests need: the process is being drained."""
        if self.second is not None:
            self.second.rest()

    async def warm_up(self) -> None:
        """Predict a few rows made from the signature; they are not counted."""
        for count in WARM_UP_ROWS:
            result = await self._predicted(sample_rows(self.signature, self.baseline, count))
            if isinstance(result, Exception):
                raise WarmUpFailed(f"the model failed on rows made from its signature: {result}")

    def is_hung(self, longer_than: float | None = None) -> bool:
        """Whether the prediction thread has not come back for long."""
        return self.joiner.busy_seconds() > (longer_than or self._hung_seconds)

    async def exercise(self) -> str:
        """Send a row through the prediction thread; return what is wrong, or nothing."""
        if self.is_hung():
            return f"the model has not answered for {self.joiner.busy_seconds():.0f} s"
        if monotonic() - self.joiner.last_success < FRESH_SECONDS:
            return ""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                result = await self._predicted(self._probe_row)
        except TimeoutError:
            return ""  # busy with a long call, which is_hung judges
        return str(result) if isinstance(result, ModelFailed) else ""

    async def _predicted(self, rows: Matrix) -> Prediction | Exception:
        future: asyncio.Future[Prediction | Exception] = asyncio.get_running_loop().create_future()

        def deliver(result: Result, _first: int) -> None:
            if not future.done():
                future.set_result(result)

        if not self.joiner.submit(Work(rows, deliver, counted=False)):
            return TimeoutError("the queue is full")
        return await future

    def stop(self) -> None:
        """Let the threads end."""
        if self.second is not None:
            self.second.stop()
        self.joiner.stop()
        self.counting.stop()
