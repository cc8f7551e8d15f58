"""What the API server stored about one Deployment, and when: every write, by watching.

A watch tells each write in order and drops none, so that counting here is counting writes that
changed something; times are those at which the news arrived on this machine.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.e2e.kit.api import Api, Json
from urllib3.exceptions import HTTPError

from trimtab.reconcile.kinds.status_writes import significant

_HOLDS = frozenset(
    {"WaitingForData", "WaitingForSamples", "ShareNotReached", "PodsDiffer", "PartlySeen"}
)
_WATCHED = ("Deployment", "Workload", "Service", "Pod")


@dataclass(frozen=True)
class News:
    """One event of a watch: Unix seconds of its arrival, ADDED, MODIFIED or DELETED, object."""

    at: float
    what: str
    kind: str
    obj: Json


@dataclass
class Record:
    """`with Record(api, name) as record:` notes everything until the block ends."""

    api: Api
    name: str
    news: list[News] = field(default_factory=list)

    def __enter__(self) -> Record:
        self._streams: list[Any] = []
        self._threads: list[threading.Thread] = []
        for kind in _WATCHED:
            query = _query(kind, self.name)
            found = self.api.call("GET", f"{self.api.path(kind)}?{query}")
            stream = self.api.stream(
                f"{self.api.path(kind)}?{query}&watch=true&timeoutSeconds=3600"
                f"&resourceVersion={found['metadata']['resourceVersion']}"
            )
            self._streams.append(stream)
            self.news += [News(0.0, "LISTED", kind, item) for item in found["items"]]
            thread = threading.Thread(target=self._read, args=(kind, stream), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *error: object) -> None:
        for stream in self._streams:
            stream.shutdown()
        for thread in self._threads:
            thread.join(timeout=10)

    def _read(self, kind: str, stream: Any) -> None:
        rest = b""
        try:
            for chunk in stream.stream(2**16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    news = json.loads(line)
                    self.news.append(News(time.time(), news["type"], kind, news["object"]))
        except (HTTPError, OSError):
            return  # shut down by __exit__
        finally:
            stream.close()

    def of(self, kind: str) -> list[News]:
        """Return the news about one kind, oldest first."""
        return [news for news in self.news if news.kind == kind]

    def writes(self) -> Counter[str]:
        """Return the operator's writes by what they changed: status, numbers, route, workload.

        A status of ours is written by nobody else; a Service too; a workload's generation counts
        the changes of its spec. `numbers` are the renewals of a status that tell nothing new.
        """
        count: Counter[str] = Counter()
        before: dict[str, Json] = {}
        for news in list(self.news):
            metadata = news.obj["metadata"]
            old = before.get(metadata["uid"])
            before[metadata["uid"]] = news.obj
            if news.what == "LISTED" or news.kind == "Pod":
                continue
            if news.kind == "Deployment":
                earlier = (old or {}).get("status") or {}
                status = news.obj.get("status") or {}
                if status != earlier:
                    tells = significant(status) != significant(earlier)
                    count["status" if tells else "numbers"] += 1
            elif news.kind == "Service":
                count["route"] += 1
            else:
                known = old["metadata"]["generation"] if old is not None else 0
                deleted = news.what == "DELETED" or "deletionTimestamp" in metadata
                count["workload"] += int(not deleted and metadata["generation"] > known)
                count["workload"] += int(news.what == "DELETED")
        return count

    def told(self) -> list[Json]:
        """Return what each write of a status told that the one before had not, by field."""
        found: list[Json] = []
        before: Json = {}
        for news in self.of("Deployment"):
            telling = significant(news.obj.get("status") or {})
            new = {name: part for name, part in telling.items() if before.get(name) != part}
            if new and news.what != "LISTED":
                found.append({**new, "after": round(news.at - self.news[-1].at, 1)})
            before = telling
        return found

    def holds(self) -> int:
        """Return how often a rollout began or ceased to wait for figures, as on a busy machine."""
        states = [_is_held(news.obj.get("status") or {}) for news in self.of("Deployment")]
        return sum(before != after for before, after in pairwise(states))

    def seconds(self) -> float:
        """Return the time between the first and the last news."""
        at = [news.at for news in self.news if news.what != "LISTED"]
        return max(at) - min(at) if at else 0.0

    def lapses(self) -> int:
        """Return how often a pod that stays stopped being Ready, as on a machine without breath."""
        count = 0
        was_ready: dict[str, bool] = {}
        for news in self.of("Pod"):
            uid, is_ready = news.obj["metadata"]["uid"], _is_ready(news.obj)
            stays = "deletionTimestamp" not in news.obj["metadata"] and news.what != "DELETED"
            count += int(stays and was_ready.get(uid, False) and not is_ready)
            was_ready[uid] = is_ready
        return count

    def decided_at(self, version: str, outcome: str) -> float:
        """Return when the end of a version's rollout was seen in status; 0.0 if it was not."""
        for news in self.of("Deployment"):
            history = (news.obj.get("status") or {}).get("history") or []
            if any(h["version"] == version and h["outcome"] == outcome for h in history):
                return news.at
        return 0.0

    def ready_at(self, version: str) -> float:
        """Return when the first pod of a version was seen Ready; 0.0 if it was not."""
        for news in self.of("Pod"):
            labels = news.obj["metadata"]["labels"]
            if labels.get("trimtab.dev/version") == version and _is_ready(news.obj):
                return news.at
        return 0.0


def _is_held(status: Json) -> bool:
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    is_blind = conditions.get("DataAvailable", {}).get("status") == "False"
    return is_blind or conditions.get("Progressing", {}).get("reason") in _HOLDS


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _query(kind: str, name: str) -> str:
    if kind == "Deployment":
        return f"fieldSelector=metadata.name={name}"
    return f"labelSelector=trimtab.dev/deployment={name}"
