"""Calls by the messages that the server itself knows, which hold no client's opinion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from tests.unit.serving.loopback import Client

from trimtab.serving.grpc.protocol import INFERENCE, INFERENCE_SERVICE, Messages

MESSAGES = Messages()


@asynccontextmanager
async def channel_to(server: Client, *options: tuple[str, Any]) -> AsyncIterator[Any]:
    """Open a channel of its own: others with the same options would share a connection."""
    own = (("grpc.use_local_subchannel_pool", 1), *options)
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{server.server.grpc_port}", options=own
    ) as channel:
        yield channel


def message(name: str, package: str = INFERENCE, /, **fields: Any) -> Any:
    return MESSAGES.of(name, package)(**fields)


def calling(
    channel: Any, method: str, answer: str, service: str = INFERENCE_SERVICE, **how: Any
) -> Any:
    """Return what calls a method with bytes or a message."""
    package = service.rpartition(".")[0]
    return channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda sent: (
            sent if isinstance(sent, bytes) else sent.SerializeToString()
        ),
        response_deserializer=MESSAGES.of(answer, package).FromString,
        **how,
    )


def infer(channel: Any) -> Any:
    return calling(channel, "ModelInfer", "ModelInferResponse")


def typed(rows: Any, **fields: Any) -> Any:
    """Return the request of `rows` (n, 4) of the model of `binary` in typed contents."""
    tensor = {
        "name": "x",
        "datatype": "FP64",
        "shape": list(np.shape(rows)),
        "contents": {"fp64_contents": np.ravel(rows).tolist()},
    }
    return message("ModelInferRequest", **{"model_name": "digits", "inputs": [tensor], **fields})


def raw(rows: Any, **fields: Any) -> Any:
    """Return the same request with raw contents."""
    tensor = {"name": "x", "datatype": "FP64", "shape": list(np.shape(rows))}
    content = np.ascontiguousarray(rows, dtype="<f8").tobytes()
    return message(
        "ModelInferRequest",
        **{"model_name": "digits", "inputs": [tensor], "raw_input_contents": [content], **fields},
    )


async def refusal(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    """Return code and details of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(request, timeout=20)
    return raised.value.code(), raised.value.details() or ""
