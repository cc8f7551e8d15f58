from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.contract.s3_server import S3, s3_server


@pytest.fixture
def s3() -> Iterator[S3]:
    with s3_server() as state:
        yield state


@pytest.fixture
def credentials(s3: S3, tmp_path: Path) -> Path:
    """A Secret as the kubelet mounts it: one file per key, and a hidden folder."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "..data").mkdir()
    (folder / "AWS_ENDPOINT_URL").write_text(s3.url + "\n")
    (folder / "AWS_ACCESS_KEY_ID").write_text("key")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text("secret")
    return folder
