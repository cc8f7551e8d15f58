"""Where the play takes place: one namespace of a real cluster, seen and changed with kubectl only.

Nothing here knows an address inside the cluster. The users are a pod; their dials and what they saw
are reached through the API server's proxy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.demo.view import View
from tests.e2e.kit.release import ROOT, kubectl
from tests.patience import Limit

Json = dict[str, Any]
NAMESPACE = "trimtab-quickstart"
MANIFESTS = ROOT / "manifests" / "quickstart"
WRITTEN_IMAGE = "trimtab/training:0.1.0"
"""As the manifests name it."""
TRAINING_IMAGE = "localhost/trimtab-training:dev"
"""As the project's own cluster has it."""
_POLL_SECONDS = 0.7
_KINDS = (
    "modeldeployments.trimtab.dev,driftpolicies.trimtab.dev,retrainjobs.trimtab.dev,"
    "modelversions.trimtab.dev,services,jobs.batch"
)


class NotSeen(Exception):
    """The cluster's own state did not show in time what the act is about."""


class Stage:
    """The namespace, with what has been told already. `say` takes one line."""

    def __init__(
        self, training_image: str, say: Callable[[str], None], namespace: str = NAMESPACE
    ) -> None:
        self.namespace = namespace
        self.say = say
        self._training_image = training_image
        self._told: set[str] = set()
        self._users: str = ""

    # --- what a person does -----------------------------------------------------------------

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl in the namespace."""
        return kubectl("-n", self.namespace, *words, stdin=stdin, timeout=timeout)

    def manifest(self, file: str) -> str:
        """Return a manifest of the quick start, with the image that the cluster has."""
        return (MANIFESTS / file).read_text().replace(WRITTEN_IMAGE, self._training_image)

    def apply(self, file: str) -> None:
        """Apply a manifest of the quick start and tell so."""
        done = self.kubectl("apply", "-f", "-", stdin=self.manifest(file))
        self.tell_own("you", "apply", f"{Path(file).name}: {', '.join(done.split(chr(10))[:-1])}")

    def turn(self, **dials: Any) -> None:
        """Turn the users' dials: rotate, rate, labels, paused."""
        body = json.dumps(dials)
        path = f"{self._proxy()}/control"
        answer: Json = json.loads(kubectl("create", "--raw", path, "-f", "-", stdin=body))
        if any(str(answer.get(name)) != str(value) for name, value in dials.items()):
            raise NotSeen(f"users' dials {dials}: {answer}")

    # --- what is there ----------------------------------------------------------------------

    def view(self) -> View:
        """Read everything once, and tell the decisions that are new."""
        items = json.loads(self.kubectl("get", _KINDS, "-o", "json"))["items"]
        view = View.of(items)
        for decision in view.decisions:
            if decision.uid not in self._told:
                self._told.add(decision.uid)
                self.say(decision.line())
        return view

    def until(self, what: str, is_true: Callable[[View], Any], limit: float = 90.0) -> View:
        """Poll until the cluster's state shows it; NotSeen after `limit` seconds.

        The seconds are those of a free machine (`tests.patience`).
        """
        end = Limit(limit)
        while True:
            view = self.view()
            if is_true(view):
                return view
            if end.is_over():
                raise NotSeen(f"{what}, within {limit:.0f} s; {view.brief()}")
            time.sleep(_POLL_SECONDS)

    def holds_for(self, what: str, is_true: Callable[[View], Any], seconds: float) -> View:
        """Poll for so long; NotSeen when it is untrue once."""
        end = time.monotonic() + seconds
        while True:
            view = self.view()
            if not is_true(view):
                raise NotSeen(f"{what} for {seconds:.0f} s; {view.brief()}")
            if time.monotonic() > end:
                return view
            time.sleep(_POLL_SECONDS)

    def stats(self, seconds: int = 10) -> Json:
        """Return what the users saw: `total`, and `seconds` for the last of them."""
        found: Json = json.loads(
            kubectl("get", "--raw", f"{self._proxy()}/stats?seconds={seconds}")
        )
        return found

    def accuracy(self, seconds: int) -> float:
        """Return the share of right answers among those of the last seconds; NaN without any."""
        lines = self.stats(seconds)["seconds"]
        answered = sum(line["ok"] for line in lines)
        return sum(line["right"] for line in lines) / answered if answered else float("nan")

    def tell_own(self, who: str, what: str, message: str) -> None:
        """Tell something that the play itself did or saw, at this machine's time."""
        now = time.strftime("%H:%M:%S", time.gmtime())
        self.say(f"{now}  {who:<16} {what:<18} {message}")

    def _proxy(self) -> str:
        if not self._users:
            names = self.kubectl("get", "pods", "-l", "app=digits-users", "-o", "name").split()
            if len(names) != 1:
                raise NotSeen(f"one pod of users: {names}")
            self._users = names[0].removeprefix("pod/")
        return f"/api/v1/namespaces/{self.namespace}/pods/{self._users}:7070/proxy"
