"""Plays manifests without a cluster: the real reconcilers, simulated pods, users and training.

What is made up: ModelVersions that nobody declared, how each version answers, and how a training
run ends. What is decided is decided by the same code as on a cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.durations import parse_duration
from trimtab.api.fields import format_duration
from trimtab.api.meta import API_VERSION
from trimtab.cluster.port import (
    DEPLOYMENTS,
    MODEL_VERSIONS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.contract.training import (
    EXIT_CODE_OF_VERDICT,
    ExitCode,
    ReportedChampion,
    ReportedMetric,
    TrainingReport,
    Variable,
    Verdict,
)
from trimtab.errors import Refused, SpecError
from trimtab.reconcile.machine.world import Settings
from trimtab.reconcile.reconcilers import RECONCILERS
from trimtab.simulation.cluster import START, SimulatedCluster, key_of_manifest
from trimtab.simulation.harness import Harness
from trimtab.simulation.jobs import Outcome
from trimtab.simulation.manifests import Folder
from trimtab.simulation.scenario import RETRAINED, USUAL_ACCURACY, Act, Answers, Expected, Scenario
from trimtab.simulation.store import MemoryStore
from trimtab.simulation.telemetry import SimulatedTelemetry
from trimtab.simulation.traffic import Behaviour, Traffic

SETTINGS = Settings(serving_image="trimtab/serving", training_image="trimtab/training")
USUAL_INTERVAL = timedelta(seconds=5)
ROWS_MEASURED = 400
"""Rows that a simulated training is measured on."""
Z = 1.96
EXIT_CODES: dict[Verdict, ExitCode] = {**EXIT_CODE_OF_VERDICT, "failed": ExitCode.CODE_BROKEN}


@dataclass(frozen=True)
class Line:
    """One thing that happened, `at` seconds after the start."""

    at: float
    who: str
    what: str
    message: str
    is_title: bool = False
    """An act begins; `message` is its title."""


@dataclass(frozen=True)
class ActResult:
    """One act in figures: seconds that it took, requests and how they were answered."""

    title: str
    seconds: float
    serving: str
    requests: int
    wrong: int
    errors: int
    lost: int


Tell = Callable[[Line], None]


def usual_scenario(folder: Folder, minutes: float = 10.0) -> Scenario:
    """Return what is played where there is no scenario: all is applied, all is healthy."""
    act = Act(
        title=f"everything is applied, users ask for {minutes:g} minutes, versions are healthy",
        apply=list(folder.files),
        after=timedelta(minutes=minutes),
    )
    return Scenario(acts=[act])


class Play:
    """One play on one simulated cluster. `tell` hears every line as time goes by."""

    def __init__(self, folder: Folder, scenario: Scenario, tell: Tell) -> None:
        self.folder = folder
        self.scenario = scenario
        self.tell = tell
        self.cluster = SimulatedCluster()
        self.traffic: dict[Key, Traffic] = {}
        self.problems: list[str] = []
        """Why the play did not go as the scenario says."""
        self._answers = dict(scenario.versions)
        self._told_events = self._told_errors = 0
        self._due: dict[Key, float] = {}
        self._telemetry: SimulatedTelemetry
        self.harness = Harness(
            self.cluster,
            RECONCILERS,
            make_telemetry=self._new_telemetry,
            make_store=MemoryStore,
            settings=SETTINGS,
        )
        self.harness.jobs.outcomes = self._trained
        self._tick = min((_interval(d) for d in self._declared("Deployment")), default=5.0)
        self.harness.tick_every(self._tick, self._send_and_scrape)

    async def run(self) -> list[ActResult]:
        """Play all acts; `problems` says afterwards what was not as expected."""
        for version, answers in self.scenario.versions.items():
            for line in sorted(self._lines()):
                self._publish(*line, version, answers)
        results = [await self._play(act) for act in self.scenario.acts]
        self.problems += self._unexpected(self.scenario.expect)
        return results

    @property
    def seconds(self) -> float:
        """Simulated seconds since the start."""
        return (self.cluster.time - START).total_seconds()

    # --- acts -------------------------------------------------------------------------------

    async def _play(self, act: Act) -> ActResult:
        started, seen = self.seconds, len(self.cluster.events)
        before = self._figures()
        self._tell_news()
        self.tell(Line(self.seconds, "", "", act.title, is_title=True))
        for version, answers in act.change.items():
            self._answers[version] = answers
            self._say("users", "Changed", f"from now on {version} {_in_words(answers)}")
        for name in act.apply:
            self._apply(name)
        if act.until is not None:
            await self._until(act, seen)
        if act.after is not None:
            await self.harness.advance(act.after.total_seconds())
        await self.harness.settle()
        self._tell_news()
        if len(self.cluster.events) == seen:
            self._tell_standing()
        grown = [int(now - then) for now, then in zip(self._figures(), before, strict=True)]
        serving = ", ".join(self._serving(key) or "nothing" for key in sorted(self.traffic))
        return ActResult(act.title, self.seconds - started, serving, *grown)

    async def _until(self, act: Act, seen: int) -> None:
        def happened() -> bool:
            return any(event.reason == act.until for event in self.cluster.events[seen:])

        limit = act.within.total_seconds()
        start = self.seconds
        await self.harness.settle()
        while not happened() and self.seconds - start < limit:
            await self.harness.advance(self._tick)
        if not happened():
            self.problems.append(
                f"{act.title}: {act.until} did not happen within {format_duration(act.within)}"
            )

    def _apply(self, name: str) -> None:
        if name not in self.folder.files:
            raise SpecError(f"the scenario applies {name}, which is not among the files")
        for manifest in self.folder.files[name]:
            key = key_of_manifest(manifest)
            if manifest["kind"] == "Deployment":
                self._make_up_versions(manifest)
            try:
                self.cluster.user_apply(manifest)
            except Refused as error:
                raise SpecError(f"{name}: {error}") from error
            self._say("you", "Applied", f"{name}: {manifest['kind']} {key.name}")
            if key.resource == DEPLOYMENTS and key not in self.traffic:
                self._send_users(key)

    # --- what is made up --------------------------------------------------------------------

    def _declared(self, kind: str) -> list[Json]:
        return [m for own in self.folder.files.values() for m in own if m["kind"] == kind]

    def _lines(self) -> set[tuple[str, str]]:
        """Return namespace and model of every line that a Deployment serves."""
        return {
            (d["metadata"]["namespace"], str(d["spec"].get("model", "")))
            for d in self._declared("Deployment")
        }

    def _make_up_versions(self, deployment: Json) -> None:
        """Publish what the Deployment wants and nobody declares."""
        spec, namespace = deployment["spec"], deployment["metadata"]["namespace"]
        model, version = str(spec.get("model", "")), spec.get("version")
        known = [
            v["spec"]["version"]
            for v in [*self.cluster.views(MODEL_VERSIONS, namespace), *self._versions(namespace)]
            if v["spec"].get("model") == model
        ]
        if version is None and not known:
            version = "v1"
        if version is not None and version not in known:
            self._publish(namespace, model, str(version), Answers())

    def _versions(self, namespace: str) -> list[Json]:
        declared = self._declared("ModelVersion")
        return [v for v in declared if v["metadata"]["namespace"] == namespace]

    def _publish(self, namespace: str, model: str, version: str, answers: Answers) -> None:
        if any(v["metadata"]["name"] == f"{model}-{version}" for v in self._versions(namespace)):
            return
        try:
            self.cluster.user_apply(_version_manifest(namespace, model, version, answers))
        except Refused as error:
            raise SpecError(f"a version {version} of {model} cannot be made up: {error}") from error
        self._say("you", "Published", f"ModelVersion {model}-{version}, made up for this play")

    def _behaviour_of(self, version: str) -> Behaviour:
        answers = self._answers_of(version)
        return answers.behaviour(labels=self.scenario.users.labels)

    def _answers_of(self, version: str) -> Answers:
        if version in self._answers:
            return self._answers[version]
        if self._is_retrained(version):
            return self._answers.get(RETRAINED, self.scenario.training.answers)
        return Answers()

    def _is_retrained(self, version: str) -> bool:
        return any(
            v["spec"]["version"] == version and (v["spec"].get("lineage") or {}).get("retrainJob")
            for v in self.cluster.views(MODEL_VERSIONS)
        )

    def _trained(self, job: Json, attempt: int) -> Outcome:
        training = self.scenario.training
        after = training.takes.total_seconds()
        code = EXIT_CODES[training.result]
        return Outcome(after, exit_code=code, message=self._report(job))

    def _report(self, job: Json) -> str:
        """Return the termination message of a training run."""
        return json.dumps(self._told(job).to_json())

    def _told(self, job: Json) -> TrainingReport:
        training = self.scenario.training
        if training.result == "failed":
            return TrainingReport(verdict="failed", failure="code", message="the scenario says so")
        if training.result == "insufficientData":
            return TrainingReport(verdict=training.result, needed=ROWS_MEASURED)
        challenger = _measured(training.answers.accuracy)
        champion = _measured(self._accuracy_of_champion(job))
        told = TrainingReport(
            verdict=training.result,
            metrics=[ReportedMetric.model_validate(challenger)],
            champion=ReportedChampion(metrics=[ReportedMetric.model_validate(champion)]),
        )
        if training.result != "accepted":
            return told
        container = job["spec"]["template"]["spec"]["containers"][0]
        output = next(e["value"] for e in container["env"] if e["name"] == Variable.OUTPUT_URI)
        digest = _digest_of(output)
        return told.model_copy(update={"uri": f"{output}{digest[7:23]}/", "digest": digest})

    def _accuracy_of_champion(self, job: Json) -> float:
        metadata = job["metadata"]
        retrain = self.cluster.get(Key(RETRAIN_JOBS, metadata["namespace"], metadata["name"])) or {}
        champion = (retrain.get("status") or {}).get("championVersion") or {}
        name = str(champion.get("versionObject", ""))
        found = self.cluster.get(Key(MODEL_VERSIONS, metadata["namespace"], name))
        return self._answers_of(found["spec"]["version"]).accuracy if found else USUAL_ACCURACY

    # --- users and metrics ------------------------------------------------------------------

    def _new_telemetry(self) -> SimulatedTelemetry:
        self._telemetry = SimulatedTelemetry(self.cluster)
        return self._telemetry

    def _send_users(self, key: Key) -> None:
        users = self.scenario.users
        self.traffic[key] = Traffic(
            self.cluster,
            key,
            self._behaviour_of,
            rate=users.rate,
            seed=users.seed + len(self.traffic),
        )

    async def _send_and_scrape(self) -> None:
        for key, traffic in self.traffic.items():
            live = self.cluster.get(key)
            if live is None:
                continue
            if (live.get("status") or {}).get("stable"):
                traffic.send(self._tick)  # Users come when something serves.
            if self.seconds >= self._due.get(key, 0.0):
                self._due[key] = self.seconds + _interval(live) - self._tick / 2
                self._telemetry.scrape(traffic, self.harness.queue.add)
        self._tell_news()

    def _figures(self) -> tuple[float, float, float, float]:
        """Return requests, wrong answers, errors and lost requests so far."""
        requests = wrong = errors = lost = 0.0
        for traffic in self.traffic.values():
            requests += sum(n for name, n in traffic.answered.items() if not name.endswith("!"))
            errors += sum(n for name, n in traffic.answered.items() if name.endswith("!"))
            wrong += sum(traffic.wrong.values())
            lost += traffic.lost
        return requests, wrong, errors, lost

    # --- what is told -----------------------------------------------------------------------

    def _say(self, who: str, what: str, message: str) -> None:
        self._tell_news()
        self.tell(Line(self.seconds, who, what, message))

    def _tell_news(self) -> None:
        for event in self.cluster.events[self._told_events :]:
            at = (event.at - START).total_seconds()
            name = event.regarding.name
            self.tell(Line(at, name, event.reason, event.message))
        self._told_events = len(self.cluster.events)
        for moment, key, error in self.harness.errors[self._told_errors :]:
            at = (moment - START).total_seconds()
            self.tell(Line(at, key.name, "TriedAgain", str(error)))
        self._told_errors = len(self.harness.errors)

    def _tell_standing(self) -> None:
        """Where nothing happened: say why each Deployment stands where it stands."""
        for key in self.traffic:
            conditions = {c["type"]: c for c in self._status(key).get("conditions") or []}
            held = conditions.get("Quarantined")
            shown = held if held and held["status"] == "True" else conditions.get("Progressing")
            if shown is not None:
                self._say(key.name, f"is {shown['reason']}", f"nothing to do: {shown['message']}")

    def _status(self, key: Key) -> Json:
        status: Json = (self.cluster.get(key) or {}).get("status") or {}
        return status

    def _serving(self, key: Key) -> str:
        return str((self._status(key).get("stable") or {}).get("version", ""))

    def _unexpected(self, expect: Expected) -> list[str]:
        """Return how the end differs from what the scenario says."""
        found = []
        by_name = {key.name: key for key in self.traffic}
        for name, wanted in expect.serving.items():
            serving = self._serving(by_name[name]) if name in by_name else ""
            is_so = self._is_retrained(serving) if wanted == RETRAINED else serving == wanted
            if not is_so:
                found.append(f"{name} serves {serving or 'nothing'}, expected: {wanted}")
        rejected = {
            r["version"] for key in self.traffic for r in self._status(key).get("rejected") or []
        }
        found += [f"{v} is not quarantined" for v in expect.quarantined if v not in rejected]
        retrainings = len(self.cluster.views(RETRAIN_JOBS))
        if expect.retrainings not in (None, retrainings):
            found.append(f"{retrainings} retrainings, expected: {expect.retrainings}")
        return found


def _interval(deployment: Json) -> float:
    """Return the seconds between two scrapes of a manifest, at least one."""
    metrics = deployment["spec"].get("metrics")
    scrape = metrics.get("scrape") if isinstance(metrics, dict) else None
    text = scrape.get("interval") if isinstance(scrape, dict) else None
    try:
        interval = USUAL_INTERVAL if text is None else parse_duration(text)
    except ValueError:
        interval = USUAL_INTERVAL  # The schema refuses it when it is applied, and says why.
    return max(1.0, interval.total_seconds())


def _digest_of(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _version_manifest(namespace: str, model: str, version: str, answers: Answers) -> Json:
    uri = f"s3://simulated/{model}/{version}/"
    measured = _measured(answers.accuracy)
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": f"{model}-{version}", "namespace": namespace},
        "spec": {
            "model": model,
            "version": version,
            "artifact": {"uri": uri, "digest": _digest_of(uri)},
            "evaluation": [measured],
        },
    }


def _measured(accuracy: float) -> Json:
    """Return a metric with the normal interval around it on `ROWS_MEASURED` rows."""
    half = Z * float((accuracy * (1 - accuracy) / ROWS_MEASURED) ** 0.5)
    interval = [round(max(0.0, accuracy - half), 4), round(min(1.0, accuracy + half), 4)]
    return {"metric": "accuracy", "value": accuracy, "interval": interval, "n": ROWS_MEASURED}


def _in_words(answers: Answers) -> str:
    estimated = answers.accuracy if answers.estimated is None else answers.estimated
    parts = [f"answers {answers.accuracy:.0%} right, at a confidence of {estimated:.0%}"]
    for share, words in (
        (answers.errors, "errors"),
        (answers.rejected, "refused"),
        (answers.slow, "slow"),
        (answers.missing, "missing inputs"),
    ):
        if share >= 0.01:
            parts.append(f"{share:.0%} {words}")
    if abs(answers.low - 0.5) >= 0.01:
        parts.append(f"{answers.low:.0%} of the inputs in the lower bin")
    return ", ".join(parts)
