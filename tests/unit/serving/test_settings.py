"""Settings from the environment: what is wrong is named."""

from __future__ import annotations

from pathlib import Path

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
        ("COMPARE_FOR", "fun"),
        ("COMPARE_BUDGET", "0"),
        ("COMPARE_BUDGET", "1.1"),
        ("COMPARE_BUDGET", "nan"),
        ("COMPARE_BUDGET", "some"),
        ("COMPARE_UNTIL", "-1"),
        ("COMPARE_UNTIL", "tomorrow"),
        ("COMPARE_ARTIFACT_DIGEST", "sha256:" + "0" * 64),
        ("WARM_UP_REQUESTS", "-1"),
        ("WARM_UP_SECONDS", "long"),
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


def test_what_is_compared_is_told_by_the_environment() -> None:
    environment = {
        "TRIMTAB_MODEL": "m",
        "TRIMTAB_VERSION": "v",
        "TRIMTAB_ARTIFACT_URI": "file:///x",
        "TRIMTAB_ARTIFACT_DIGEST": "sha256:" + "0" * 64,
        "TRIMTAB_ARTIFACT_CREDENTIALS": "/own",
        "TRIMTAB_COMPARE_ARTIFACT_URI": "file:///y",
        "TRIMTAB_COMPARE_ARTIFACT_DIGEST": "sha256:" + "1" * 64,
    }
    plain = read_settings(environment)
    assert (plain.compare_for, plain.compare_budget, plain.compare_until) == ("shadow", 0.1, 0)
    assert plain.compare_credentials == Path("/own")
    assert plain.token_seal_key_file is None
    assert (plain.warm_up_requests, plain.warm_up_seconds) == (20, 10)
    told = read_settings(
        environment
        | {
            "TRIMTAB_COMPARE_FOR": "outcomes",
            "TRIMTAB_COMPARE_ARTIFACT_CREDENTIALS": "/theirs",
            "TRIMTAB_COMPARE_BUDGET": "1",
            "TRIMTAB_COMPARE_UNTIL": "1790000000.5",
            "TRIMTAB_TOKEN_SEAL_KEY_FILE": "/seal",
        }
    )
    assert (told.compare_for, told.compare_budget, told.compare_until) == (
        "outcomes", 1.0, 1790000000.5,
    )  # fmt: skip
    assert told.compare_credentials == Path("/theirs")
    assert told.token_seal_key_file == Path("/seal")
    with pytest.raises(SettingsInvalid, match="COMPARE_ARTIFACT_DIGEST"):
        read_settings(environment | {"TRIMTAB_COMPARE_ARTIFACT_DIGEST": "../../etc"})
