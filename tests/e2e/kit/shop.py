"""One Deployment on the real cluster, served by the faulty server, and what becomes of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.kit.api import Api, Json, Objects, condition, until
from tests.e2e.kit.artifacts import publish
from tests.e2e.kit.load import Load
from tests.e2e.kit.record import Record
from tests.patience import stretched

GROUP = "trimtab.dev/v1alpha1"
CODE = "faulty-server"
"""ConfigMap with the program of the pods."""
METRICS_PORT = 9090
QUICK_STEPS: tuple[Json, ...] = ({"weight": "25%", "for": "3s"},)
_ids = itertools.count(int(time.time()))


def provide_code(api: Api) -> None:
    """Put the faulty server where the pods mount it from."""
    program = Path(__file__).with_name("faulty.py").read_text()
    api.apply(
        "ConfigMap",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CODE},
            "data": {"faulty.py": program},
        },
    )


class Shop:
    """One Deployment. Its model has its name."""

    def __init__(
        self,
        api: Api,
        name: str,
        *,
        replicas: int = 2,
        interval: str = "1s",
        steps: Sequence[Json] = QUICK_STEPS,
        rollout: Json | None = None,
        guard: Json | None = None,
        serving: Json | None = None,
        metrics: Json | None = None,
        poll_seconds: float = 0.15,
    ) -> None:
        """rollout: fields of spec.rollout; serving: fields of spec.serving, merged over ours."""
        self.poll_seconds = poll_seconds
        self.api = api
        self.name = name
        self.replicas = replicas
        self.metrics = metrics or {"scrape": {"interval": interval}}
        self.serving = serving or {}
        # What leaves the Service is forgotten by its clients' nodes later on a slow machine.
        self.seconds_to_leave = round(stretched(5))
        delay = f"{self.seconds_to_leave}s"
        self.rollout = {"scaleDownDelay": delay, "minSamples": 10, **(rollout or {})}
        if self.rollout.get("strategy", "canary") == "canary":
            self.rollout.setdefault("steps", list(steps))
        self.guard = guard

    # --- what a person does -----------------------------------------------------------------

    def publish(self, version: str) -> None:
        """Put a version into the store, declare it, and wait until it is verified."""
        artifact = publish(self.name, version)
        name = f"{self.name}-{version}"
        self.api.apply(
            "ModelVersion",
            {
                "apiVersion": GROUP,
                "kind": "ModelVersion",
                "metadata": {"name": name},
                "spec": {
                    "model": self.name,
                    "version": version,
                    "artifact": {
                        "uri": artifact.uri,
                        "digest": artifact.digest,
                        "format": "sklearn",
                    },
                },
            },
        )
        until(
            f"{name} verified",
            lambda: (
                (self.api.get("ModelVersion", name) or {}).get("status", {}).get("phase")
                == "Verified"
            ),
        )

    def want(self, version: str, **serving: Any) -> None:
        """Apply the Deployment with this version."""
        self.api.apply("Deployment", self.manifest(version, **serving))

    def manifest(self, version: str, **serving: Any) -> Json:
        """Return the Deployment as a person keeps it in git."""
        spec: Json = {
            "model": self.name,
            "version": version,
            "replicas": self.replicas,
            "metrics": self.metrics,
            "serving": {
                "podTemplate": _pod_template(self.seconds_to_leave),
                **self.serving,
                **serving,
            },
            "rollout": self.rollout,
        }
        if self.guard is not None:
            spec["guard"] = self.guard
        return {
            "apiVersion": GROUP,
            "kind": "Deployment",
            "metadata": {"name": self.name},
            "spec": spec,
        }

    def serve(self, version: str = "good") -> None:
        """Bring the first version up to full size, and wait until its Service answers."""
        self.publish(version)
        self.want(version)
        self.wait_for(f"{version} serves", lambda: self.serves(version), 180)
        self.wait_for("the Service answers", self.answers)

    def answers(self) -> bool:
        """Return whether a request to the Service is answered."""
        try:
            return httpx.post(self.address, content=b"{}", timeout=stretched(2.0)).status_code < 600
        except httpx.HTTPError:
            return False

    @property
    def address(self) -> str:
        service = self.api.get("Service", self.name)
        assert service is not None
        return f"http://{service['spec']['clusterIP']}:8080/infer"

    def try_version(self, version: str, **serving: Any) -> None:
        """Publish a version and ask for it."""
        self.publish(version)
        self.want(version, **serving)

    def command(self, verb: str, argument: str = "-") -> None:
        """Give a command, as `trimtab <verb>` does."""
        review = self.api.call(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", _SELF_REVIEW
        )
        annotations = {
            "trimtab.dev/command": f"{verb}/{argument}/{next(_ids)}",
            "trimtab.dev/command-by": review["status"]["userInfo"]["username"],
        }
        self.api.patch("Deployment", self.name, {"metadata": {"annotations": annotations}})

    def tell(self, version: str, word: str) -> None:
        """Change what the pods of a version do from now on (see faulty.py)."""
        for pod in self.pods(version):
            path = self.api.pod_path(pod["metadata"]["name"], METRICS_PORT, f"control/{word}")
            self.api.call("POST", path)

    def delete(self) -> None:
        """Delete the Deployment; what belongs to it goes with it."""
        self.api.delete("Deployment", self.name)

    def delete_and_wait(self) -> None:
        """Delete, and wait until its pods are gone."""
        self.delete()
        until(f"pods of {self.name} gone", lambda: not self.pods(), 180)

    # --- what is there ----------------------------------------------------------------------

    @property
    def live(self) -> Json:
        found = self.api.get("Deployment", self.name)
        assert found is not None
        return found

    @property
    def status(self) -> Json:
        found: Json = (self.api.get("Deployment", self.name) or {}).get("status") or {}
        return found

    @property
    def serving_version(self) -> str:
        return str((self.status.get("stable") or {}).get("version", ""))

    def serves(self, version: str) -> bool:
        """Return whether a version is stable, Ready, and no rollout is under way."""
        status = self.status
        is_stable = (status.get("stable") or {}).get("version") == version
        ready = condition({"status": status}, "Ready")["status"] == "True"
        full = (status.get("stable") or {}).get("ready") == self.replicas
        return is_stable and ready and full and "rollout" not in status

    def phase(self) -> str:
        return str((self.status.get("rollout") or {}).get("phase", ""))

    def reason(self, kind: str) -> str:
        return str(condition({"status": self.status}, kind)["reason"])

    def message(self, kind: str) -> str:
        return str(condition({"status": self.status}, kind).get("message", ""))

    def outcomes(self) -> list[str]:
        """Return how rollouts ended, oldest first: `v2 RolledBack`."""
        return [f"{h['version']} {h['outcome']}" for h in self.status.get("history") or []]

    def rejected(self) -> Json:
        """Return the quarantined versions with their entries."""
        return {entry["version"]: entry for entry in self.status.get("rejected") or []}

    def pods(self, version: str = "") -> Objects:
        """Return the pods, of one version or of all."""
        selector = f"trimtab.dev/deployment={self.name}"
        if version:
            selector += f",trimtab.dev/version={version}"
        return self.api.list("Pod", selector)

    def pod_uids(self, version: str) -> set[str]:
        """Return the pods of a version that stay, with their restarts: unchanged if untouched."""
        return {
            f"{p['metadata']['uid']}/{p['status']['containerStatuses'][0]['restartCount']}"
            for p in self.pods(version)
            if "deletionTimestamp" not in p["metadata"] and p["status"].get("containerStatuses")
        }

    def route(self) -> str | None:
        """Return the revision that the Service sends to; None for all."""
        service = self.api.get("Service", self.name)
        assert service is not None
        revision: str | None = service["spec"]["selector"].get("trimtab.dev/revision")
        return revision

    def event_reasons(self) -> list[str]:
        return [event["reason"] for event in self.api.events(self.name)]

    # --- load and waiting -------------------------------------------------------------------

    def load(self, rate: float = 50.0, **options: Any) -> Load:
        """Return a steady stream of requests to the Service."""
        return Load(self.address, rate, **options)

    def record(self) -> Record:
        return Record(self.api, self.name)

    def wait_for(self, what: str, is_true: Callable[[], Any], limit: float = 60.0) -> Any:
        """Poll; when it does not come to pass, say how things stand."""
        try:
            return until(f"{self.name}: {what}", is_true, limit, every=self.poll_seconds)
        except AssertionError as error:
            status = self.status
            known = {k: v for k, v in status.items() if k in ("summary", "rollout", "backOff")}
            conditions = [
                f"{c['type']}={c['status']}/{c['reason']}: {c.get('message', '')}"
                for c in status.get("conditions") or []
            ]
            raise AssertionError(
                f"{error}\n{known}\n{self.outcomes()}\n" + "\n".join(conditions)
            ) from None

    def wait_until_gone(self, version: str) -> None:
        """Wait until the last pod of a version has ended."""
        self.wait_for(f"pods of {version} are gone", lambda: not self.pods(version))

    def wait_for_outcome(self, outcome: str, limit: float = 180.0) -> None:
        """Wait until a rollout ended so: `v2 RolledBack`."""
        self.wait_for(outcome, lambda: outcome in self.outcomes(), limit)


_SELF_REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def _pod_template(seconds_to_leave: int) -> Json:
    """Return the patch that runs the faulty server in the serving image."""
    return {
        "spec": {
            "terminationGracePeriodSeconds": seconds_to_leave,
            "containers": [
                {
                    "name": "model",
                    "command": ["python", "/code/faulty.py"],
                    "env": [{"name": "SECONDS_TO_LEAVE", "value": f"{seconds_to_leave * 0.6:g}"}],
                    "volumeMounts": [{"name": "code", "mountPath": "/code"}],
                }
            ],
            "volumes": [{"name": "code", "configMap": {"name": CODE}}],
        }
    }
