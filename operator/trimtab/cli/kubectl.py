"""The cluster through the person's own kubectl: its kubeconfig, contexts and ways to log in.

Objects are asked for by their path (`kubectl get --raw`), so that nothing depends on discovery, on
how kubectl prints, or on short names that another group may have too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from trimtab.api.resource import Json, Key, Resource
from trimtab.cli.api import Listing, Outdated, Scope, no_kind, no_such
from trimtab.cli.seen import Seen, printable
from trimtab.errors import Refused, TrimtabError

IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
SELF_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
PAGE = 500
LONGEST_LINE = 16 * 1024 * 1024
"""Of a watch: an object has at most 1.5 MiB in etcd, more as JSON."""
LONGEST_WORDS = 400
_LOG_LINE = re.compile(r"[IWEF]\d{4} ")
_FROM_SERVER = re.compile(r"Error from server(?: \((?P<reason>\w+)\))?: ")
_STARTS = ("error: ", "Error: ", "Unable to connect to the server: ")
_NO_KIND = ("could not find the requested resource", "page not found")


class NotFound(TrimtabError):
    """The server says that it has no such thing."""


class Kubectl:
    """Implements `trimtab.cli.api.Api` by running kubectl; context: of the kubeconfig."""

    def __init__(self, context: str | None = None, timeout_seconds: float | None = None) -> None:
        self._context = context
        self._limits = [] if timeout_seconds is None else [f"--request-timeout={timeout_seconds:g}"]

    # --- the port ---------------------------------------------------------------------------

    async def get(self, key: Key) -> Json:
        """See the port."""
        try:
            return await self._raw(path_of(key.resource, key.namespace, key.name))
        except NotFound as error:
            raise _missing(key, error) from error

    async def list(self, resource: Resource, scope: Scope) -> Listing:
        """See the port."""
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        found: Objects = []
        query = {"limit": str(PAGE), **_selectors(scope)}
        while True:
            try:
                page = Seen(await self._raw(path_of(resource, scope.namespace), query))
            except NotFound as error:
                raise no_kind(resource) from error
            found += [kind | dict(item.value) for item in page.all("items")]
            token = page.at("metadata", "continue").value
            if not token:
                return Listing(found, page.text("metadata", "resourceVersion"))
            query["continue"] = str(token)

    async def watch(self, resource: Resource, scope: Scope, version: str) -> AsyncIterator[Json]:
        """See the port."""
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        path = path_of(resource, scope.namespace)
        arguments = ["get", "--raw", f"{path}?{urlencode(query | _selectors(scope))}"]
        async with self._started(arguments) as process:
            assert process.stdout is not None
            async for line in _lines(process.stdout):
                event = _json(line)
                if Seen(event).text("type") == "ERROR":
                    raise _of_event(Seen(event).at("object"))
                yield event
            assert process.stderr is not None
            said = await process.stderr.read(LONGEST_LINE)
            if await process.wait():
                raise error_of(said.decode(errors="replace"))

    async def annotate(self, key: Key, annotations: dict[str, str]) -> Json:
        """See the port."""
        resource = key.resource
        what = ".".join(
            part for part in (resource.plural, resource.version, resource.group) if part
        )
        patch = json.dumps({"metadata": {"annotations": annotations}})
        arguments = ["patch", what, key.name, "-n", key.namespace, "--type=merge", "-p", patch]
        try:
            return _json(await self.run([*arguments, "-o", "json"]))
        except NotFound as error:
            raise _missing(key, error) from error

    async def create(self, key: Key, manifest: Json) -> Json:
        """See the port."""
        path = f"{path_of(key.resource, key.namespace)}?fieldValidation=Strict"
        body = json.dumps(manifest).encode()
        return _json(await self.run(["create", "--raw", path, "-f", "-"], body))

    async def whoami(self) -> str:
        """See the port."""
        body = json.dumps({"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.kind})
        path = f"/apis/{SELF_REVIEWS.api_version}/{SELF_REVIEWS.plural}"
        review = Seen(_json(await self.run(["create", "--raw", path, "-f", "-"], body.encode())))
        name = review.at("status", "userInfo", "username").value
        if not isinstance(name, str) or not name:
            raise TrimtabError("the API server does not say who we are")
        return name

    # --- beside the port --------------------------------------------------------------------

    async def namespace(self) -> str:
        """Return the namespace of the context, or of the pod that this runs in, else `default`."""
        program()
        try:
            config = _json(await self.run(["config", "view", "--minify", "-o", "json"]))
        except NoContext as error:
            raise await self._unknown_context() from error
        except TrimtabError as error:
            if "current-context" not in str(error):
                raise
            if _is_in_cluster():
                return _namespace_of_pod()
            raise TrimtabError(
                "no cluster: there is no kubeconfig with a current context in ~/.kube/config or "
                "where KUBECONFIG says"
            ) from error
        contexts = Seen(config).all("contexts")
        return (contexts[0].text("context", "namespace") if contexts else "") or "default"

    async def contexts(self) -> Names:
        """Return the names of all contexts of the kubeconfig."""
        said = await self.run(["config", "get-contexts", "-o", "name"])
        return said.decode(errors="replace").split()

    async def _unknown_context(self) -> TrimtabError:
        names = [printable(name) for name in await Kubectl().contexts()]
        there = f"there is {', '.join(names)}" if names else "it has none"
        return TrimtabError(
            f"the kubeconfig has no context {printable(self._context or '')}; {there}"
        )

    # --- processes --------------------------------------------------------------------------

    async def _raw(self, path: str, query: dict[str, str] | None = None) -> Json:
        text = f"?{urlencode(query)}" if query else ""
        return _json(await self.run(["get", "--raw", path + text]))

    async def run(self, arguments: Sequence[str], body: bytes | None = None) -> bytes:
        """Return what kubectl prints; TrimtabError with its words in one line if it fails."""
        async with self._started(arguments) as process:
            out, said = await process.communicate(body)
            if process.returncode:
                raise error_of(said.decode(errors="replace"))
            return out

    @asynccontextmanager
    async def _started(self, arguments: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run kubectl; it is gone when the block is left, however that happens."""
        context = [] if self._context is None else ["--context", self._context]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            program(),
            *context,
            *self._limits,
            *arguments,
            stdin=pipe if "-f" in arguments else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            limit=LONGEST_LINE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                # `process.kill` looks whether it has ended, and so takes its end from asyncio.
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                await process.wait()
            # What was not read to its end would be closed by the garbage collector, without a loop.
            process._transport.close()  # type: ignore[attr-defined]


Objects = list[Json]
Names = list[str]
"""In the class above `list` is a verb."""


class NoContext(TrimtabError):
    """The kubeconfig has no context of that name."""


def program() -> str:
    """Return the path of kubectl; TrimtabError if there is none."""
    found = shutil.which("kubectl")
    if found is None:
        raise TrimtabError("kubectl is not on the PATH; trimtab reaches the cluster through it")
    return found


def path_of(resource: Resource, namespace: str, name: str = "") -> str:
    """Return the path of an object, or of all of a namespace; namespace empty: of all there are."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    if not namespace:
        return f"{root}/{resource.plural}"
    path = f"{root}/namespaces/{quote(namespace, safe='')}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _selectors(scope: Scope) -> dict[str, str]:
    query = {"labelSelector": scope.labels} if scope.labels else {}
    return query | ({"fieldSelector": f"metadata.name={scope.name}"} if scope.name else {})


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    try:
        while line := await stream.readline():
            yield line
    except ValueError as error:
        raise TrimtabError(f"the API server sent a line above {LONGEST_LINE} bytes") from error


def _json(text: bytes) -> Json:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrimtabError(f"kubectl did not print JSON: {printable(str(error), 200)}") from error
    if not isinstance(found, dict):
        raise TrimtabError("kubectl did not print an object")
    return found


# --- errors -------------------------------------------------------------------------------------


def error_of(said: str) -> TrimtabError:
    """Return what kubectl said in one line, by what it means."""
    words = " ".join(_told(said)) or "kubectl failed and did not say why"
    server = _FROM_SERVER.match(words)
    reason = (server["reason"] or "") if server else ""
    for start in (server[0] if server else "", *_STARTS):
        words = words.removeprefix(start)
    words = printable(words, LONGEST_WORDS)
    if reason == "NotFound":
        return NotFound(words)
    if reason in ("Expired", "Gone"):
        return Outdated(words)
    if reason == "Forbidden":
        return Refused(words)
    if "context" in words and ("does not exist" in words or "cannot locate context" in words):
        return NoContext(words)
    return TrimtabError(words)


def _told(said: str) -> Iterator[str]:
    """Yield the lines that are for people, and not of kubectl's own log."""
    for line in said.splitlines():
        if line.strip() and not _LOG_LINE.match(line):
            yield line.strip()


def _of_event(status: Seen) -> TrimtabError:
    words = status.text("message") or "the watch failed"
    return Outdated(words) if status.count("code") == 410 else TrimtabError(words)


def _missing(key: Key, error: NotFound) -> TrimtabError:
    return no_kind(key.resource) if any(w in str(error) for w in _NO_KIND) else no_such(key)


def _namespace_of_pod() -> str:
    if not IN_CLUSTER_NAMESPACE.is_file():
        return "default"
    return IN_CLUSTER_NAMESPACE.read_text(encoding="utf-8").strip() or "default"


def _is_in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
