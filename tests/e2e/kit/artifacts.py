"""Small real artifacts in the release's store: verified by the operator as any other."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from tests.e2e.kit.api import Api, until
from tests.e2e.kit.release import SYSTEM

from trimtab.contract.artifact import SIGNATURE, Signature, Tensor
from trimtab.contract.location import open_location
from trimtab.contract.transfer import WrittenArtifact, write_artifact

STORE_SERVICE = "trimtab-store"
SECRET = "trimtab-artifacts"
_TENSORS = {
    "inputs": [Tensor(name="x", datatype="FP64", shape=[4])],
    "outputs": [Tensor(name="label", datatype="INT64")],
}


def credentials(folder: Path) -> Path:
    """Write the store's keys into a folder, with an address that is reachable from here."""
    api = Api(SYSTEM)
    found = until("the store's keys", lambda: api.get("Secret", SECRET), 30)
    for name, value in found["data"].items():
        (folder / name).write_bytes(base64.b64decode(value))
    service = api.get("Service", STORE_SERVICE)
    if service is not None:
        (folder / "AWS_ENDPOINT_URL").write_text(f"http://{service['spec']['clusterIP']}:9000")
    return folder


def publish(model: str, version: str) -> WrittenArtifact:
    """Put a version that nobody can load into the store; the faulty server does not try to."""
    signature = Signature(task="classification", classes=["0", "1"], **_TENSORS)
    files = {
        "model.skops": f"{model} {version}".encode(),
        SIGNATURE: signature.model_dump_json(by_alias=True).encode(),
    }
    with tempfile.TemporaryDirectory() as folder:
        location = open_location(f"s3://models/{model}/{version}", credentials(Path(folder)))
        return write_artifact(
            location,
            files,
            model_format="sklearn",
            model_file="model.skops",
            model=model,
            version=version,
            created="2026-01-01T00:00:00Z",
            frameworks={},
        )
