"""What a decision about an attempt may see, and what follows from it without deciding anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.api.run import RunView
from trimtab.decide.led_time import Instant, led_between
from trimtab.decide.retrain.report import TrainingResult, last_words, read_result

DIGEST_CHARACTERS = 16
"""Of the digest in the name of an artifact's folder."""


@dataclass(frozen=True)
class MadeVersion:
    """The ModelVersion that has the wanted name, whoever made it."""

    name: str
    digest: str
    retrain_job: str | None
    made_at: datetime | None = None


@dataclass(frozen=True)
class RetrainSnapshot:
    """Everything that the decision rests on."""

    job: RetrainJob
    now: datetime
    serving: Champion | None = None
    """What the Deployment of the cause serves now."""
    run: RunView = field(default_factory=RunView)
    made: MadeVersion | None = None
    led: float | None = None
    """Seconds that operators have led, up to now; None: nobody counts them."""

    def led_since(self, then: datetime) -> timedelta:
        """Return how long operators led since the moment that status has a reading of."""
        began = Instant(then, self.job.status.started_led)
        return led_between(began, Instant(self.now, self.led))


def output_uri_of(champion: Champion, new_version: str) -> str:
    """Return the folder of a new version: beside that of the champion.

    Artifacts lie in a folder named by their digest, below that of the version:
    `s3://models/digits/v1/9f2c.../` -> `s3://models/digits/r1a2b3c4d/`.
    """
    scheme, _, path = champion.uri.partition("://")
    host, *folders = path.rstrip("/").split("/")
    if folders and folders[-1] == champion.digest.removeprefix("sha256:")[:DIGEST_CHARACTERS]:
        folders.pop()
    return f"{scheme}://" + "/".join([host, *folders[:-1], new_version]) + "/"


def result_of(seen: RetrainSnapshot) -> TrainingResult | None:
    """Return what the oldest pod that has something to say reports; None: nothing decisive yet."""
    champion = seen.job.status.champion_version
    if champion is None:
        return None
    output_uri = output_uri_of(champion, seen.job.status.new_version)
    for pod in seen.run.pods:
        if pod.exit_code is not None:
            result = read_result(pod.exit_code, pod.message, output_uri=output_uri)
            if result is not None:
                return result
    return None


def last_exit(seen: RetrainSnapshot) -> str:
    """Return how the last pod ended, in brackets, for people; empty if none has."""
    ended = [pod for pod in seen.run.pods if pod.exit_code is not None]
    if not ended:
        return ""
    words = last_words(ended[-1].message)
    return f" (last exit code {ended[-1].exit_code}{': ' if words else ''}{words})"
