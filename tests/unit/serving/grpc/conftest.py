"""Settings of a server that listens for gRPC, too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trimtab.serving.settings import ServingSettings


@pytest.fixture
def by_grpc(settings: ServingSettings) -> ServingSettings:
    return replace(settings, grpc_port=0)
