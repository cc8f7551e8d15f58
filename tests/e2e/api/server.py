"""A client of the API server for tests: raw JSON, dry runs, impersonation."""

import json
from typing import Any

import kubernetes
from tests.patience import stretched

from trimtab.api.kinds import KINDS
from trimtab.api.meta import VERSION

Json = dict[str, Any]
PLURALS = {info.kind: info.plural for info in KINDS}


class Refused(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


class Server:
    """The API server of KUBECONFIG, with our kinds under `group` in one namespace."""

    def __init__(self, group: str, namespace: str) -> None:
        config: Any = kubernetes.config  # has no types
        self._client = config.new_client_from_config()
        self.group = group
        self.namespace = namespace

    def path(self, kind: str, name: str = "", part: str = "") -> str:
        """Return the path of the kind's collection, of one object, or of a part of it."""
        base = f"/apis/{self.group}/{VERSION}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return "/".join(filter(None, (base, name, part)))

    def ours(self, obj: Json) -> Json:
        """Return the object under the test's group and namespace."""
        metadata = {**obj["metadata"], "namespace": self.namespace}
        return {**obj, "apiVersion": f"{self.group}/{VERSION}", "metadata": metadata}

    def is_served(self, plural: str) -> bool:
        """Return whether objects of the kind can be listed."""
        base = f"/apis/{self.group}/{VERSION}/namespaces/{self.namespace}/{plural}"
        return not self.is_missing(base)

    def is_missing(self, path: str) -> bool:
        """Return whether the path answers 404."""
        try:
            self.read(path)
        except Refused as refused:
            if refused.status == 404:
                return True
            raise
        return False

    def read(self, path: str) -> Json:
        """Return what lies at the path."""
        return self._call("GET", path)

    def create(self, path: str, obj: Json, *, dry_run: bool = False, user: str = "") -> Json:
        """Create under strict field validation."""
        return self._call("POST", path, obj, dry_run=dry_run, user=user)

    def replace(self, path: str, obj: Json, *, dry_run: bool = False, user: str = "") -> Json:
        """Replace under strict field validation."""
        return self._call("PUT", path, obj, dry_run=dry_run, user=user)

    def merge(self, path: str, patch: Json, *, user: str = "") -> Json:
        """Carry out a merge patch."""
        return self._call("PATCH", path, patch, user=user)

    def delete(
        self, path: str, *, missing_ok: bool = False, dry_run: bool = False, user: str = ""
    ) -> None:
        """Delete in the background."""
        # Beside a body, the server does not read the query of a DELETE.
        options: Json = {"propagationPolicy": "Background", "dryRun": ["All"] if dry_run else []}
        try:
            self._call("DELETE", path, options, user=user)
        except Refused as refused:
            if refused.status != 404 or not missing_ok:
                raise

    def _call(
        self,
        verb: str,
        path: str,
        body: Json | None = None,
        *,
        dry_run: bool = False,
        user: str = "",
    ) -> Json:
        query = [("fieldValidation", "Strict")] if verb in ("POST", "PUT", "PATCH") else []
        query += [("dryRun", "All")] if dry_run else []
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if verb == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        if user:
            headers |= {"Impersonate-User": user, "Impersonate-Group": "system:masters"}
        request = self._client.param_serialize(
            verb,
            path,
            query_params=query,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=stretched(10))
        text = answer.read()
        if answer.status >= 400:
            raise Refused(answer.status, _message(text))
        found: Json = json.loads(text)
        return found


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError):
        return text.decode(errors="replace")
