"""Requests to the API server: raw JSON over the transport of the kubernetes package.

The package brings kubeconfig, TLS and tokens; its models are slow to decode and are not used.
One function turns every answer that is not a success into an error of `trimtab.errors`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from prometheus_client import Counter, Histogram

from trimtab.api.resource import Resource
from trimtab.cluster.bounded import read_answer
from trimtab.cluster.port import Json
from trimtab.errors import Conflict, Refused, RetryLater, TrimtabError, Unavailable

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
USER_AGENT = "trimtab-operator"

MOST_WORDS = 2000
"""Of an error, which a condition has room for: an answer may repeat a value of the manifest."""
_UNAPPLICABLE = ("failed to create typed patch object ", "failed to convert new object ")
"""How the API server begins its 500, without a reason, where the manifest of an apply is at fault
(`k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go`)."""

REQUESTS = Counter(
    "trimtab_operator_requests", "Requests to the API server.", ["verb", "plural", "code"]
)
REQUEST_SECONDS = Histogram(
    "trimtab_operator_request_seconds",
    "Duration of a request to the API server.",
    ["verb"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0),
)


class NotFound(RetryLater):
    """The object, its namespace or its kind is not there. Verbs catch it where that is fine."""


class AlreadyExists(Conflict):
    """An object of that name exists. Verbs catch it where that is fine."""


def path_of(
    resource: Resource, namespace: str | None, name: str | None = None, subresource: str = ""
) -> str:
    """Return the path of a collection or an object; `namespace` None means all of them."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    parts = [f"{root}/{resource.version}"]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(resource.plural)
    if name is not None:
        parts.append(quote(name, safe=""))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def retry_after(headers: Mapping[str, str], body: Json) -> float | None:
    """Return the seconds that the server asks to wait, at most 60; None if it does not."""
    text = headers.get("Retry-After") or str(
        (body.get("details") or {}).get("retryAfterSeconds") or ""
    )
    return min(60.0, float(text)) if text.isdigit() else None


def error_of(what: str, status: int, headers: Mapping[str, str], body: Json) -> TrimtabError:
    """Return the error for an answer that is not a success."""
    words = str(body.get("message") or body.get("reason") or "")
    message = f"{what}: {status} {words}".rstrip()[:MOST_WORDS]
    if status == 404:
        return NotFound(message)
    if status == 409:
        exists = body.get("reason") == "AlreadyExists"
        return AlreadyExists(message) if exists else Conflict(message)
    # A webhook that fails has a reason, whatever its words are.
    if status == 500 and not body.get("reason") and words.startswith(_UNAPPLICABLE):
        return Refused(message)
    if status in (401, 408, 410, 429) or status >= 500:
        # 401: the token is read again from its file within a minute. 410: a list took too long.
        return Unavailable(message, retry_after(headers, body))
    return Refused(message)


async def load_configuration(context: str | None = None) -> Configuration:
    """Return how to reach the API server: kubeconfig if named by KUBECONFIG, else in-cluster.

    A `context` is one of the kubeconfig. Raises TrimtabError if neither says where it is.
    """
    configuration = Configuration()
    try:
        await _load(configuration, context)
    except config.ConfigException as error:
        raise TrimtabError(f"no API server is configured: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, AttributeError, KeyError) as error:
        named = os.environ.get("KUBECONFIG", "~/.kube/config")
        raise TrimtabError(f"the kubeconfig {named} cannot be read: it is none") from error
    return configuration


async def _load(configuration: Configuration, context: str | None) -> None:
    in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
    if in_cluster and context is None:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            # The package reads the variable when it is imported; here it counts when connecting.
            config_file=os.environ.get("KUBECONFIG"),
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )


class Transport:
    """One pool of connections to one API server."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def request(
        self,
        verb: str,
        method: str,
        resource: Resource,
        *,
        namespace: str | None,
        name: str | None = None,
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Json | bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """Send one request and return the answer's JSON.

        A `body` of bytes is sent as it is, under a content type that is not one of JSON.
        Raises Refused, Conflict, NotFound or Unavailable with verb, kind, namespace and name.
        """
        what = f"{verb} {resource.plural}{subresource and '/' + subresource} {namespace}/{name}"
        url = self._configuration.host + path_of(resource, namespace, name, subresource)
        if query:
            url += "?" + urlencode(query)
        headers = {
            "Accept": accept,
            "Content-Type": content_type,
            "User-Agent": USER_AGENT,
        } | await self._credentials()
        code = "none"
        try:
            with REQUEST_SECONDS.labels(verb).time():
                answer = await self._rest.request(  # type: ignore[no-untyped-call]
                    method, url, headers=headers, body=body, _request_timeout=REQUEST_TIMEOUT
                )
                data = await answer.read()
            code = str(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{what}: {type(error).__name__} {error}") from error
        finally:
            REQUESTS.labels(verb, resource.plural, code).inc()
        parsed = await _parsed(data)
        if answer.status >= 300:
            raise error_of(what, answer.status, answer.headers, parsed)
        return parsed

    async def _credentials(self) -> dict[str, str]:
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        return {entry["key"]: entry["value"] for entry in settings.values() if entry["value"]}


async def _parsed(data: bytes) -> Json:
    """Return the JSON of an answer; a proxy's error page counts as its own message."""
    try:
        parsed = await read_answer(data)
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return parsed if isinstance(parsed, dict) else {}


async def connect(context: str | None = None) -> Transport:
    """Return a transport to the API server that the environment names."""
    return Transport(await load_configuration(context))
