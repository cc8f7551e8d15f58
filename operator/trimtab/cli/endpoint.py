"""A server of the Open Inference Protocol: its models, what they take, and what they answer.

Source: github.com/kserve/open-inference-protocol, `protocol/inference_rest.md`.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from math import prod
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from trimtab import __version__
from trimtab.errors import TrimtabError, plain

MOST_TRIES: Final = 8
"""Of one request, where the server is busy or the connection broke."""
GROWTH: Final = 1.5
"""Of the time that a busy server asks to wait, from one try to the next."""
LONGEST_WAIT: Final = 30.0
ANSWER_SECONDS: Final = 60.0
LARGEST_ANSWER_BYTES: Final = 64 << 20
MOST_ELEMENTS: Final = 2**21
"""Of one input or output in a row."""
_LONGEST_QUOTE: Final = 200
_BUSY: Final = (429, 503)
_PLACE: Final = re.compile(
    r"(?P<before>.*?)/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/infer)?"
)


class NotAnswered(TrimtabError):
    """The server is not there, or does not answer as the protocol says."""


class RefusedByServer(TrimtabError):
    """The server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output; `shape` is that of one row."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Elements in a row."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Model:
    """What a server says of a model. `path` is quoted; classes: of outputs that have one number
    for each.
    """

    name: str
    path: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    classes: Mapping[str, tuple[str, ...]]


class Endpoint:
    """One server, asked over one connection that is opened anew when it has ended."""

    def __init__(self, url: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        found = _PLACE.fullmatch(parts.path.rstrip("/"))
        self.url = url
        self._scheme, self._host, self._port = parts.scheme, str(parts.hostname), parts.port
        self._before = found["before"] if found else parts.path.rstrip("/").removesuffix("/v2")
        self._model = found["model"] if found else None
        self._version = found["version"] if found else None
        self._pause = pause
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def model(self) -> Model:
        """Return what the server says of the model; raise NotAnswered or RefusedByServer."""
        name = self._model or quote(self._only_model(), safe="")
        path = f"{self._before}/v2/models/{name}"
        if self._version is not None:
            path += f"/versions/{self._version}"
        content = self._get(path)
        outputs = tuple(self._tensor(item) for item in _list(content.get("outputs")))
        inputs = tuple(self._tensor(item) for item in _list(content.get("inputs")))
        if not inputs:
            raise NotAnswered(f"{self.url}: the server names no inputs of {unquote(name)}")
        return Model(unquote(name), path, inputs, outputs, self._classes())

    def infer(self, model: Model, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to an infer request; raise NotAnswered or RefusedByServer."""
        raw = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        return self._json(*self._asked("POST", f"{model.path}/infer", raw))

    def _only_model(self) -> str:
        names: list[str] = []
        for page in ("/v2/models", "/v1/models"):
            try:
                content = self._get(f"{self._before}{page}", may_be_list=True)
            except RefusedByServer:
                continue  # the protocol has no list of models; some servers have one of these
            listed = content.get("models", content.get("list"))
            names = [_name(item) for item in _list(listed) if _name(item)]
            break
        if len(names) == 1:
            return names[0]
        some = f"serves {', '.join(names[:20])}" if names else "does not say what it serves"
        raise NotAnswered(f"{self.url} {some}: name the model, {self.url}/v2/models/NAME")

    def _classes(self) -> dict[str, tuple[str, ...]]:
        """Return the names of classes, which the protocol does not tell, where the server does."""
        try:
            content = self._get(f"{self._before}/openapi.json")
            schema = content["components"]["schemas"]["InferAnswer"]["properties"]["outputs"]
            items = schema["items"]
            return {
                item["properties"]["name"]["const"]: tuple(map(str, item["x-classes"]))
                for item in items.get("anyOf", [items])
                if "x-classes" in item
            }
        except (NotAnswered, RefusedByServer, LookupError, TypeError, AttributeError):
            return {}

    def _tensor(self, item: Any) -> Tensor:
        try:
            name, datatype = str(item["name"]), str(item["datatype"])
            shape = tuple(int(size) for size in item["shape"][1:])
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            said = str(item)[:_LONGEST_QUOTE]
            raise NotAnswered(f"{self.url}: the server describes no tensor: {said}") from error
        if any(size < 1 for size in shape) or prod(shape) > MOST_ELEMENTS:
            raise NotAnswered(
                f"{self.url}: {name[:_LONGEST_QUOTE]!r} has the shape "
                f"{str(item['shape'])[:_LONGEST_QUOTE]}, which is none of rows"
            )
        return Tensor(name, datatype, shape)

    # --- HTTP -----------------------------------------------------------------------------------

    def _get(self, path: str, *, may_be_list: bool = False) -> dict[str, Any]:
        return self._json(*self._asked("GET", path, None), may_be_list=may_be_list)

    def _json(self, status: int, raw: bytes, *, may_be_list: bool = False) -> dict[str, Any]:
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            content = None
        if status != 200:
            said = content.get("error") if isinstance(content, dict) else None
            raise RefusedByServer(status, str(said or raw[:200].decode(errors="replace"))[:1000])
        if may_be_list and isinstance(content, list):
            return {"list": content}
        if not isinstance(content, dict):
            raise NotAnswered(f"{self.url}: the server did not answer with a JSON object")
        return content

    def _asked(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Ask, again where the server is busy and where a connection that worked broke."""
        for tries_left in reversed(range(MOST_TRIES)):
            was_open = self._connection is not None
            try:
                status, raw, wait = self._once(method, path, body)
            except (OSError, HTTPException) as error:
                self.close()
                if was_open and tries_left:
                    continue  # servers end connections by age, and while one asks
                raise NotAnswered(f"{self.url}: {_said(error)}") from error
            if status in _BUSY and tries_left:
                self._pause(min(wait * GROWTH ** (MOST_TRIES - 1 - tries_left), LONGEST_WAIT))
                continue
            return status, raw
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes, float]:
        connection = self._connection = self._connection or self._opened()
        headers = {"User-Agent": f"trimtab/{__version__}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path or "/", body, headers)
        answer = connection.getresponse()
        raw = answer.read(LARGEST_ANSWER_BYTES + 1)
        if len(raw) > LARGEST_ANSWER_BYTES:
            self.close()
            limit = f"{LARGEST_ANSWER_BYTES:,} bytes"
            raise NotAnswered(f"{self.url}: the answer has more than {limit}")
        if answer.will_close:
            self.close()
        if 300 <= answer.status < 400:
            to = answer.getheader("Location", "")[:200]
            raise NotAnswered(
                f"{self.url}: HTTP {answer.status} leads to {to}: name the final address"
            )
        return answer.status, raw, _seconds(answer.getheader("Retry-After"))

    def _opened(self) -> HTTPConnection:
        if self._scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(self._host, self._port, timeout=ANSWER_SECONDS, context=context)
        return HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)


def _seconds(text: str | None) -> float:
    """Return what `Retry-After` says, at least a moment; a second where it is a date."""
    try:
        return min(max(float(text or 1), 0.1), LONGEST_WAIT)
    except ValueError:
        return 1.0


def _said(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate is not trusted ({error.verify_message}); SSL_CERT_FILE may name the "
            "authority"
        )
    return plain(error) or type(error).__name__


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(item: Any) -> str:
    found = item.get("name") if isinstance(item, dict) else item
    return found if isinstance(found, str) else ""
