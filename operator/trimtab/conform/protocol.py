"""Open Inference Protocol v2: pages, inference, request id, outputs.

Source: github.com/kserve/open-inference-protocol, `protocol/inference_rest.md`.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from trimtab.conform.container import Container, object_of, shown
from trimtab.conform.rows import Check, Failed, Skipped, optional, required
from trimtab.conform.tensors import described, fault_of_outputs, rows_of, synthesised

ID: Final = "conform-1"
SEVERAL: Final = 3


async def _server_live(container: Container) -> str:
    return await _is_up(container, "/v2/health/live")


async def _server_ready(container: Container) -> str:
    return await _is_up(container, "/v2/health/ready")


async def _model_ready(container: Container) -> str:
    return await _is_up(container, f"{container.model_path}/ready")


async def _server_metadata(container: Container) -> str:
    content = await _page(container, "/v2")
    extensions = content.get("extensions")
    if not isinstance(extensions, list) or not all(isinstance(one, str) for one in extensions):
        raise Failed(f"extensions is {str(extensions)[:60]}", "list the extensions by name")
    container.extensions = tuple(extensions)
    for field in ("name", "version"):
        if not isinstance(content.get(field), str):
            raise Failed(f"{field} is {str(content.get(field))[:60]}", f"give {field} as text")
    return f"{content['name']} {content['version']}: {', '.join(extensions) or 'no extensions'}"


async def _model_metadata(container: Container) -> str:
    content = await _page(container, container.model_path)
    if content.get("name") != container.model:
        raise Failed(f"name is {str(content.get('name'))[:60]!r}", "give the name of the model")
    for field in ("inputs", "outputs"):
        fault = described(content, field)
        if fault:
            raise Failed(fault, "describe each tensor by name, datatype and shape")
    if not isinstance(content.get("platform"), str):
        raise Failed("platform is missing", "give platform as text")
    container.metadata = content
    return "; ".join(
        f"{field} " + ", ".join(f"{t['name']} {t['datatype']} {t['shape']}" for t in content[field])
        for field in ("inputs", "outputs")
    )[:160]


async def _infer(container: Container) -> str:
    body = container.asked.request
    if body is None and not container.metadata:
        raise Failed("no metadata to make a request from", "serve them, or give --request FILE")
    if body is None:
        body = synthesised(container.metadata)
    response = await container.infer(body)
    if response.status_code != 200:
        hint = (
            "" if container.asked.request else "; if the values are at fault, give --request FILE"
        )
        raise Failed(shown(response), f"answer a good request with 200{hint}")
    answer = object_of(response)
    if answer.get("model_name") != container.model:
        raise Failed(f"model_name is {str(answer.get('model_name'))[:60]!r}", "name the model")
    container.body = body
    return "200 to a request " + ("of the file" if container.asked.request else "by the metadata")


async def _request_id(container: Container) -> str:
    answer = await container.answered(container.request() | {"id": ID})
    if answer.get("id") != ID:
        raise Failed(f"id is {str(answer.get('id'))[:60]!r} for {ID!r}", "echo the request's id")
    return f"{ID} came back"


async def _parameters(container: Container) -> str:
    sent = {"conform": "kept"}
    answer = await container.answered(container.request() | {"parameters": sent})
    given = answer.get("parameters")
    if not isinstance(given, dict) or given.get("conform") != "kept":
        raise Failed(f"parameters is {str(given)[:60]}", "echo the request's parameters")
    return "came back"


async def _outputs(container: Container) -> str:
    shapes = []
    for body in (container.request(), container.some_rows(SEVERAL)):
        answer = await container.answered(body)
        fault = fault_of_outputs(answer, container.metadata, rows_of(body))
        if fault:
            raise Failed(fault, "let name, datatype, shape and data fit the metadata and the rows")
        shapes.append(", ".join(f"{one['name']} {one['shape']}" for one in answer["outputs"]))
    return "; ".join(shapes)[:160]


async def _named_output(container: Container) -> str:
    body = container.request()
    name = container.metadata["outputs"][0]["name"] if container.metadata else None
    if name is None:
        raise Skipped("needs `model metadata` to pass")
    answer = await container.answered(body | {"outputs": [{"name": name}]})
    outputs = answer.get("outputs")
    names = [
        one.get("name") if isinstance(one, dict) else None
        for one in (outputs if isinstance(outputs, list) else [])
    ]
    if names != [name]:
        raise Failed(f"asked for {name!r}, got {names}"[:160], "answer only the outputs asked for")
    return f"{name} alone"


async def _versioned(container: Container) -> str:
    version = container.version or _only_version(container.metadata)
    if version is None:
        raise Skipped("the metadata name no version; give --version")
    path = f"{container.model_path}/versions/{quote(version, safe='')}"
    await _is_up(container, f"{path}/ready")
    await _page(container, path)
    await container.answered(container.request(), f"{path}/infer")
    return f"ready, metadata and infer of version {version}"


def _only_version(metadata: dict[str, Any]) -> str | None:
    versions = metadata.get("versions")
    if isinstance(versions, list) and versions and isinstance(versions[0], str) and versions[0]:
        return versions[0]
    return None


async def _is_up(container: Container, path: str) -> str:
    response = await container.front.get(path)
    if response.status_code != 200:
        raise Failed(f"{path}: {shown(response)}", "answer 200")
    return f"200 at {path}"


async def _page(container: Container, path: str) -> dict[str, Any]:
    response = await container.front.get(path)
    if response.status_code != 200:
        raise Failed(f"{path}: {shown(response)}", "answer 200 with the metadata")
    return object_of(response)


CHECKS: Final[tuple[Check[Container], ...]] = (
    required("server live", _server_live),
    required("server ready", _server_ready),
    required("server metadata", _server_metadata),
    required("model ready", _model_ready),
    required("model metadata", _model_metadata),
    required("infer", _infer),
    required("request id", _request_id),
    required("outputs", _outputs),
    optional("outputs by name", _named_output),
    optional("parameters", _parameters),
    optional("paths with version", _versioned),
)
