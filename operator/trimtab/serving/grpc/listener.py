"""The port of gRPC, from its opening to its end."""

from __future__ import annotations

import os

# It logs lines of its own form; what matters is in what it raises.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc.aio

from trimtab.serving.grpc.service import Service
from trimtab.serving.inference.routes import Inference
from trimtab.serving.settings import ServingSettings

_JITTER = 1.1
"""gRPC spreads the age of connections by a tenth."""


class GrpcListener:
    """A listening port; its connections end by age, as those of HTTP do."""

    def __init__(self, inference: Inference, settings: ServingSettings) -> None:
        self._service = Service(
            inference,
            most_calls=settings.queue_requests,
            slow_calls=max(1, settings.receive_bytes // settings.max_body_bytes),
            receive_seconds=settings.receive_seconds,
        )
        self._host = settings.host
        age = settings.connection_seconds / _JITTER
        self._server = grpc.aio.server(
            handlers=[self._service],
            options=[
                ("grpc.so_reuseport", 0),  # a port that is taken is an error
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", settings.queue_requests),
                ("grpc.max_allowed_incoming_connections", settings.max_connections),
                ("grpc.max_connection_age_ms", max(1, int(age * 1000))),
                ("grpc.max_connection_age_grace_ms", int(settings.deadline_seconds * 1000) + 1000),
            ],
        )

    async def listen(self, port: int) -> int:
        """Start listening; return the port number. Raises OSError."""
        host = self._host
        if host is None:
            where = f"[::]:{port}"  # both families; only IPv4 where there is no other
        else:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            number: int = self._server.add_insecure_port(where)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        await self._server.start()
        return number

    def sweep(self) -> None:
        """Refuse what has taken too long; called a few times a second."""
        self._service.sweep()

    async def stop(self, seconds: float) -> None:
        """Tell clients to go elsewhere and answer what is under way, for so long at most."""
        await self._server.stop(seconds)
