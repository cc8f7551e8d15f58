"""Objects of the real cluster, as a person with kubectl has them: apply, get, delete, events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import kubernetes
from tests.patience import Limit, stretched

Json = dict[str, Any]
Objects = list[Json]
"""In the class below `list` is a verb."""

_PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
    "Service": "/api/v1/namespaces/{ns}/services",
    "Secret": "/api/v1/namespaces/{ns}/secrets",
    "Pod": "/api/v1/namespaces/{ns}/pods",
    "Job": "/apis/batch/v1/namespaces/{ns}/jobs",
    "Workload": "/apis/apps/v1/namespaces/{ns}/deployments",
    "Event": "/apis/events.k8s.io/v1/namespaces/{ns}/events",
    "ModelVersion": "/apis/trimtab.dev/v1alpha1/namespaces/{ns}/modelversions",
    "Deployment": "/apis/trimtab.dev/v1alpha1/namespaces/{ns}/modeldeployments",
    "DriftPolicy": "/apis/trimtab.dev/v1alpha1/namespaces/{ns}/driftpolicies",
    "RetrainJob": "/apis/trimtab.dev/v1alpha1/namespaces/{ns}/retrainjobs",
}
"""`Workload` is the Deployment of apps/v1; `Deployment` is ours."""


class ApiError(Exception):
    """The API server refused; status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """A client bound to one namespace, with the administrator's kubeconfig."""

    def __init__(self, namespace: str) -> None:
        kubernetes.config.load_kube_config()
        self._client = kubernetes.client.ApiClient()
        self.namespace = namespace

    def path(self, kind: str, name: str = "") -> str:
        base = _PATHS[kind].format(ns=self.namespace)
        return f"{base}/{name}" if name else base

    def apply(self, kind: str, obj: Json) -> Json:
        """Server-side apply as the field manager `kubectl`."""
        return self.call(
            "PATCH",
            self.path(kind, obj["metadata"]["name"]) + "?fieldManager=kubectl&force=true",
            obj,
            content="application/apply-patch+yaml",
        )

    def patch(self, kind: str, name: str, patch: Json, manager: str = "kubectl-edit") -> Json:
        """Merge patch, as `kubectl edit` would."""
        path = f"{self.path(kind, name)}?fieldManager={manager}"
        return self.call("PATCH", path, patch, content="application/merge-patch+json")

    def get(self, kind: str, name: str) -> Json | None:
        """Return the object, or None."""
        try:
            return self.call("GET", self.path(kind, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, selector: str = "") -> Objects:
        query = f"?labelSelector={selector}" if selector else ""
        items: Objects = self.call("GET", self.path(kind) + query)["items"]
        return items

    def delete(self, kind: str, name: str, **options: Any) -> None:
        """Delete in the background; fine if it is gone."""
        body = {"propagationPolicy": "Background", **options}
        try:
            self.call("DELETE", self.path(kind, name), body)
        except ApiError as error:
            if error.status != 404:
                raise

    def events(self, name: str) -> Objects:
        """Return the events about an object, oldest first."""
        found = [e for e in self.list("Event") if e["regarding"]["name"] == name]
        return sorted(found, key=lambda e: e.get("eventTime") or "")

    def call(
        self, verb: str, path: str, body: Json | None = None, content: str = "application/json"
    ) -> Json:
        headers = {"Accept": "application/json", "Content-Type": content}
        request = self._client.param_serialize(
            verb, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = self._client.call_api(*request, _request_timeout=stretched(20))
        text: bytes = answer.read()
        if answer.status >= 400:
            try:
                message = json.loads(text).get("message", "")
            except ValueError:
                message = text.decode(errors="replace")
            raise ApiError(answer.status, message)
        found: Json = json.loads(text) if text else {}
        return found

    def text(self, path: str) -> str:
        """Return what is not JSON: metrics of a pod, by the API server's proxy."""
        answer = self._open(path, stretched(20))
        text: bytes = answer.read()
        if answer.status >= 400:
            raise ApiError(answer.status, text.decode(errors="replace"))
        return text.decode()

    def stream(self, path: str) -> Any:
        """Return an open answer of urllib3, one line an event of a watch."""
        return self._open(path, None).response

    def pod_path(self, pod: str, port: int, path: str) -> str:
        """Return the path by which the API server passes a request on to a pod."""
        return f"{self.path('Pod', pod)}:{port}/proxy/{path}"

    def _open(self, path: str, seconds: float | None) -> Any:
        request = self._client.param_serialize("GET", path, auth_settings=["BearerToken"])
        return self._client.call_api(*request, _request_timeout=seconds)


def until(what: str, is_true: Callable[[], Any], limit: float = 60.0, every: float = 0.1) -> Any:
    """Poll until something is true, and return it; AssertionError after `limit` seconds.

    The seconds are those of a free machine, as in all limits (`tests.patience`).
    """
    end = Limit(limit)
    while True:
        found = is_true()
        if found:
            return found
        if end.is_over():
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(every)


def condition(obj: Json | None, kind: str) -> Json:
    """Return a condition of an object, or an empty one."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {"status": "", "reason": ""})


def moment(text: str) -> datetime:
    """Return an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
