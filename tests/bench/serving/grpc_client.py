"""Closed loop of gRPC calls on one core: raw tensors there and back.

python -m tests.bench.serving.grpc_client PORT MODEL --rows R --connections N --seconds S
prints one line of JSON: `requests` and `seconds`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time

import grpc
import numpy as np
from tests.bench.serving.client import CLIENT_CORE

from trimtab.serving.grpc.protocol import INFERENCE_SERVICE, Messages


async def calls(port: int, model: str, rows: int, connections: int, seconds: float) -> int:
    """Return how many calls were answered."""
    messages = Messages()
    values = np.random.default_rng(rows).normal(size=(rows, 30))
    request = messages.of("ModelInferRequest")(
        model_name=model,
        inputs=[{"name": "x", "datatype": "FP64", "shape": [rows, 30]}],
        raw_input_contents=[values.tobytes()],
    ).SerializeToString()
    end = time.monotonic() + seconds
    done = 0

    async def one(number: int) -> None:
        nonlocal done
        # Channels of the same options would share a connection.
        options = (("grpc.use_local_subchannel_pool", 1), ("trimtab.number", number))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call = channel.unary_unary(f"/{INFERENCE_SERVICE}/ModelInfer")
            while time.monotonic() < end:
                await call(request)
                done += 1

    await asyncio.gather(*map(one, range(connections)))
    return done


def main() -> None:
    """Call; print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    told = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    began = time.monotonic()
    done = asyncio.run(calls(told.port, told.model, told.rows, told.connections, told.seconds))
    print(json.dumps({"requests": done, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
