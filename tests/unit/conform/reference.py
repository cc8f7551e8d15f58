"""A small container that keeps the serving contract, and breaks one clause of it when told so.

It shares nothing with the runtime but the token. One input `x` FP64 [-1, 2], one `colour` BYTES
[-1]; classes "0" and "1" by the first number.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import web
from tests.unit.conform.tally import DIGEST, MODEL, VERSION, Tally

from trimtab.contract.token import ID_BYTES, TokenRefused, TokenWriter, read_token

KEY = b"0123456789abcdef0123456789abcdef"
MAX_ROWS = 5000
LINGER_SECONDS = 0.2
HEADER = "inference-header-content-length"
DATATYPES = {"x": "FP64", "colour": "BYTES"}


class Bad(Exception):
    """A refusal: which kind of fault, its status and text."""

    def __init__(self, kind: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.kind = kind
        self.status = status


class Reference:
    """Both ports; `broken` names the clause that is not kept."""

    def __init__(self) -> None:
        self.broken = ""
        self.bearer: str | None = None
        self.front_url = self.back_url = ""
        self.runners: list[web.AppRunner] = []
        self.reset()

    def reset(self, broken: str = "", bearer: str | None = None) -> None:
        """Start anew, as another container."""
        self.broken, self.bearer = broken, bearer
        self.tally = Tally(self.is_broken)
        self.seen: set[bytes] = set()
        self.draining = False
        self.ill = False
        self.writer = TokenWriter(
            KEY, digest=DIGEST, baseline=DIGEST, model=MODEL, version=VERSION, classes=["0", "1"]
        )

    def is_broken(self, name: str) -> bool:
        """Whether this clause is the broken one."""
        return self.broken == name

    # The inference port.

    async def front(self, request: web.Request) -> web.Response:
        path, own = request.path, f"/v2/models/{MODEL}"
        if not self.is_broken("no path with a version"):
            path = path.replace(f"{own}/versions/{VERSION}", own)
        if path in (f"{own}/infer", f"/v1/models/{MODEL}:predict") and request.method == "POST":
            return await self._counted(request, path)
        if self.is_broken("every page is counted"):
            self.tally.request(200)
        if path == "/metrics" and self.is_broken("metrics in front"):
            return await self.metrics(request)
        if path == "/outcomes" and self.broken in ("outcomes in front", "outcomes in front, 404"):
            answer = await self.outcomes(request)
            return answer if self.is_broken("outcomes in front") else error("no", 404)
        try:
            return web.json_response(self._page(request, path, own))
        except Bad as bad:
            return self._refused(bad)

    def _page(self, request: web.Request, path: str, own: str) -> dict[str, Any]:
        ups = {
            "/v2/health/live": "not live",
            "/v2/health/ready": "not ready",
            f"{own}/ready": "model not ready",
        }
        if path in ups:
            if self.broken in (ups[path], "no readiness at all"):
                raise Bad("", "down", 503)
            return {}
        if path == f"{own}/infer":
            raise Bad("method", "POST is wanted", 405)
        if path == "/v1/models":
            return {"models": ["one", "two"] if self.is_broken("two models") else [MODEL]}
        if path == "/v2":
            told: Any = None if self.is_broken("no extensions") else ["binary_tensor_data"]
            return {"name": "reference", "version": "1", "extensions": told}
        if path == own:
            return self._metadata()
        kind = "path"
        if path.startswith("/v2/models/"):
            kind = "version" if path.startswith(own) else "model"
        raise Bad(kind, f"no {kind}", 404)

    def _metadata(self) -> dict[str, Any]:
        rows = 1 if self.is_broken("rows are fixed") else -1
        x = {"name": "x", "datatype": "FP64", "shape": [rows, 2]}
        if self.is_broken("no datatype"):
            del x["datatype"]
        return {
            "name": "another" if self.is_broken("metadata of another") else MODEL,
            "versions": [VERSION],
            "platform": "reference",
            "inputs": [x, {"name": "colour", "datatype": "BYTES", "shape": [rows]}],
            "outputs": [
                {"name": "class", "datatype": "INT64", "shape": [-1]},
                {"name": "score", "datatype": "FP64", "shape": [-1, 1]},
            ],
        }

    async def _counted(self, request: web.Request, path: str) -> web.Response:
        if self.is_broken("hangs"):
            await asyncio.sleep(60)
        self.tally.start()
        try:
            response = await self._infer(request, path)
        except Bad as bad:
            self.ill = self.is_broken("ill of bad input")
            response = self._refused(bad)
        self.tally.finish(response.status)
        if self.draining and self.is_broken("503 in the drain"):
            response = error("leaving", 503)
        if self.draining:
            response.force_close()
        return response

    async def _infer(self, request: web.Request, path: str) -> web.Response:
        raw = await request.read()
        if self.ill or self.is_broken("500 for all"):
            return error("the model failed", 500)
        parts = path.split("/")
        if parts[1] == "v2" and parts[3] != MODEL:
            raise Bad("model", "no such model", 404)
        if parts[1] == "v1":
            rows = [[*one["x"], one["colour"]] for one in json.loads(raw)["instances"]]
            left = 0 if self.is_broken("a prediction too few") else len(rows)
            return web.json_response({"predictions": [0] * left})
        length = int(request.headers.get(HEADER, len(raw)))
        body = parsed(raw[:length])
        inputs = self._inputs(body, raw[length:])
        return self._answer(body, inputs)

    def _inputs(self, body: dict[str, Any], tail: bytes) -> np.ndarray[Any, Any]:
        if not body.get("inputs"):
            raise Bad("inputs", "inputs: is missing")
        found = {}
        for tensor in body["inputs"]:
            name, shape = tensor["name"], tensor["shape"]
            if name not in DATATYPES:
                raise Bad("unknown", f"inputs[0].name: {name}")
            if tensor["datatype"] != DATATYPES[name]:
                raise Bad("datatype", f"inputs[0].datatype of {name}")
            if shape[1:] != ([2] if name == "x" else []):
                raise Bad("shape", f"inputs[0].shape of {name}")
            size = tensor.get("parameters", {}).get("binary_data_size")
            if name == "x" and size is not None:
                order = ">f8" if self.is_broken("big-endian in") else "<f8"
                tensor["data"] = np.frombuffer(tail[:size], order).tolist()
            tail = tail[size or 0 :]
            data = tensor.get("data", ["a"] * shape[0])
            if len(data) != int(np.prod(shape)):
                raise Bad("data", f"inputs[0].data of {name}")
            found[name] = data
        if len(found) < len(DATATYPES):
            raise Bad("missing", "inputs: colour is missing")
        rows = np.array(found["x"], dtype=float).reshape(-1, 2)
        if len(rows) > MAX_ROWS:
            raise Bad("rows", f"at most {MAX_ROWS} rows", 413)
        return rows

    def _answer(self, body: dict[str, Any], rows: np.ndarray[Any, Any]) -> web.Response:
        classes = [int(row[0] > 1) for row in rows]
        self.tally.rows(classes)
        content: dict[str, Any] = {"model_name": MODEL, "outputs": self._outputs(classes, rows)}
        if self.is_broken("another model_name"):
            content["model_name"] = "another"
        if "id" in body and not self.is_broken("no id"):
            content["id"] = body["id"]
        echoed = {} if self.is_broken("no parameters") else dict(body.get("parameters", {}))
        is_binary = bool(echoed.pop("binary_data_output", False))
        content["parameters"] = echoed | self._token(classes)
        wanted = [one["name"] for one in body.get("outputs", [])]
        if wanted and not self.is_broken("all outputs always"):
            content["outputs"] = [o for o in content["outputs"] if o["name"] in wanted]
        return self._binary(content) if is_binary else web.json_response(content)

    def _outputs(self, classes: list[int], rows: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        count = len(classes)
        first: dict[str, Any] = {
            "name": "class", "datatype": "INT64", "shape": [count], "data": classes
        }  # fmt: skip
        if self.is_broken("a shape of its own"):
            first["shape"] = [count, 7]
        if self.is_broken("another datatype"):
            first["datatype"] = "INT32"
        if self.is_broken("text for numbers"):
            first["data"] = [str(one) for one in classes]
        if self.is_broken("an unknown output"):
            first["name"] = "label"
        if self.is_broken("one row always"):
            first |= {"shape": [1], "data": classes[:1]}
        scores = (rows[:, 0] / 3).tolist()
        return [
            first,
            {"name": "score", "datatype": "FP64", "shape": [count, 1], "data": scores},
        ]

    def _token(self, classes: list[int]) -> dict[str, Any]:
        if self.is_broken("no token"):
            return {}
        number = b"\1" * ID_BYTES if self.is_broken("one token for all") else os.urandom(ID_BYTES)
        hour = int(time.time() // 3600)
        token = self.writer.classes(classes, bytes(len(classes)), hour=hour, id=number)
        if len(classes) > 256 and not self.is_broken("no token rows"):
            return {"trimtab_token": token, "trimtab_token_rows": 256}
        return {"trimtab_token": token}

    def _binary(self, content: dict[str, Any]) -> web.Response:
        tail = b""
        for output in content["outputs"]:
            order = ">" if self.is_broken("big-endian out") else "<"
            kind = "i8" if output["datatype"] == "INT64" else "f8"
            raw = np.array(output.pop("data"), dtype=order + kind).tobytes()
            output["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        head = json.dumps(content).encode()
        headers = {} if self.is_broken("no length of the JSON") else {HEADER: str(len(head))}
        return web.Response(body=head + tail, headers=headers)

    def _refused(self, bad: Bad) -> web.Response:
        if self.is_broken(f"500: {bad.kind}"):
            return error(str(bad), 500)
        if self.is_broken(f"200: {bad.kind}"):
            return web.json_response({})
        if self.is_broken(f"bare: {bad.kind}"):
            return web.Response(status=bad.status, text="Bad Request")
        return error("bad" if self.is_broken("errors tell nothing") else str(bad), bad.status)

    # The second port.

    async def probe(self, request: web.Request) -> web.Response:
        if self.broken in ("no probes", "no readiness at all"):
            return error("no such path", 404)
        is_away = self.draining and not self.is_broken("ready in the drain")
        return error("leaving", 503) if is_away else web.json_response({})

    async def metrics(self, request: web.Request) -> web.Response:
        if self.is_broken("no metrics page"):
            return error("no such path", 404)
        asked = "openmetrics" in request.headers.get("accept", "")
        is_open = asked and not self.is_broken("no OpenMetrics")
        return web.Response(
            text=self.tally.page() + ("# EOF\n" if is_open else ""),
            content_type="application/openmetrics-text" if is_open else "text/plain",
        )

    async def outcomes(self, request: web.Request) -> web.Response:
        given = request.headers.get("authorization")
        is_known = self.bearer is None or given == f"Bearer {self.bearer}"
        if not is_known and not self.is_broken("any bearer"):
            return error("a bearer is wanted", 401)
        if self.is_broken("no outcomes"):
            return error("labels are not taken", 404)
        [item] = await request.json()
        try:
            token = read_token(item["token"], KEY)
        except TokenRefused as refused:
            return self._forged(refused, item)
        actual, is_counted = item["actual"], True
        if len(actual) != len(token.predicted) and not self.is_broken("any number of truths"):
            return error("actual", 400)
        if token.id in self.seen:
            if self.is_broken("500 for a repeated token"):
                return error("repeated", 500)
            is_counted = self.is_broken("counts a token again")
        self.seen.add(token.id)
        if is_counted:
            self.tally.labelled(token, actual)
        return web.json_response({}, status=200 if is_counted else 409)

    def _forged(self, refused: TokenRefused, item: dict[str, Any]) -> web.Response:
        self.tally.add("tokens_refused_total", reason=refused.reason)
        if self.is_broken("takes a forged token"):
            return web.json_response({})
        if self.is_broken("500 for a forged token"):
            return error("forged", 500)
        if self.is_broken("counts a forged token"):
            self.tally.add("outcomes_total", predicted="0", actual=item["actual"][0])
        return error("forged", 400)

    # The end.

    async def leave(self) -> None:
        """Drain: readiness goes, later the listeners and what is open."""
        if self.is_broken("deaf at once"):
            for site in list(self.runners[0].sites):
                await site.stop()
        self.draining = True
        if self.is_broken("drops what is open"):
            server = self.runners[0].server
            assert server is not None
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        if self.broken not in ("never ends", "ready in the drain"):
            await asyncio.sleep(LINGER_SECONDS)
            for runner in self.runners:
                await runner.cleanup()


def parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        raise Bad("json", "not JSON") from None
    if not isinstance(body, dict):
        raise Bad("object", "not an object")
    return body


def error(text: str, status: int) -> web.Response:
    return web.json_response({"error": text}, status=status)


@asynccontextmanager
async def running() -> AsyncIterator[Reference]:
    """Yield the container on two ports of loopback."""
    reference = Reference()
    front, back = web.Application(client_max_size=2**26), web.Application()
    front.router.add_route("*", "/{path:.*}", reference.front)
    back.router.add_get("/metrics", reference.metrics)
    back.router.add_get("/readyz", reference.probe)
    back.router.add_get("/healthz", reference.probe)
    back.router.add_post("/outcomes", reference.outcomes)
    reference.runners = [web.AppRunner(app, shutdown_timeout=0.1) for app in (front, back)]
    urls = []
    for runner in reference.runners:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
    reference.front_url, reference.back_url = urls
    try:
        yield reference
    finally:
        for runner in reference.runners:
            await runner.cleanup()
