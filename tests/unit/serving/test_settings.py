"""Settings from the environment: what is wrong is named."""

from __future__ import annotations

import pytest

from trimtab.serving.errors import SettingsInvalid
from trimtab.serving.settings import read_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL", ""),
        ("ARTIFACT_DIGEST", " "),
        ("MAX_ROWS", "many"),
        ("MAX_ROWS", "-1"),
        ("MAX_ROWS", "0"),
        ("MAX_ROWS", "9" * 5000),
        ("INFERENCE_PORT", "65536"),
        ("FETCH_SECONDS", "0"),
        ("ARTIFACT_DIGEST", "sha256:../../etc"),
        ("VERSION", "v" * 256),
        ("VERSION", "v\n1"),
        ("DEADLINE_SECONDS", "inf"),
        ("DEADLINE_SECONDS", "soon"),
        ("TRUST_PICKLE", "yes"),
        ("ACCESS_LOG", "some"),
    ],
)
def test_settings_name_the_variable_at_fault(name: str, value: str) -> None:
    environment = {
        "TRIMTAB_MODEL": "m",
        "TRIMTAB_VERSION": "v",
        "TRIMTAB_ARTIFACT_URI": "file:///x",
        "TRIMTAB_ARTIFACT_DIGEST": "sha256:" + "0" * 64,
    }
    assert read_settings(environment).inference_port == 8080
    with pytest.raises(SettingsInvalid, match=f"TRIMTAB_{name}"):
        read_settings(environment | {f"TRIMTAB_{name}": value})
