"""Settings from the environment: what is wrong is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trimtab.build import workload
from trimtab.contract.training import OptionalVariable, Variable
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
    environment = NEEDED
    assert read_settings(environment).inference_port == 8080
    with pytest.raises(SettingsInvalid, match=f"TRIMTAB_{name}"):
        read_settings(environment | {f"TRIMTAB_{name}": value})


NEEDED = {
    "TRIMTAB_MODEL": "m",
    "TRIMTAB_VERSION": "v",
    "TRIMTAB_ARTIFACT_URI": "file:///x",
    "TRIMTAB_ARTIFACT_DIGEST": "sha256:" + "0" * 64,
}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TRIMTAB_MAX_ROW", "TRIMTAB_MAX_ROWS"),
        ("TRIMTAB_ACCESSLOG", "TRIMTAB_ACCESS_LOG"),
        ("TRIMTAB_MAX_BODY", "TRIMTAB_MAX_BODY_BYTES"),
        ("TRIMTAB_max_rows", "TRIMTAB_MAX_ROWS"),
        ("TRIMTAB_METRIC_PORT", "TRIMTAB_METRICS_PORT"),
        ("TRIMTAB_LABEL_DELAY", "TRIMTAB_LABEL_DELAY_SECONDS"),
        ("TRIMTAB_DEADLINE_SECOND", "TRIMTAB_DEADLINE_SECONDS"),
        ("TRIMTAB_", "TRIMTAB_"),
        ("TRIMTAB_SERVING_IMAGE", "TRIMTAB_"),
    ],
)
@pytest.mark.parametrize("value", ["1", ""])
def test_a_misspelt_variable_is_refused_with_the_nearest(
    name: str, nearest: str, value: str
) -> None:
    wanted = f"^{name} is no setting; {nearest}.* is the nearest$"
    with pytest.raises(SettingsInvalid, match=wanted):
        read_settings(NEEDED | {name: value})


def test_what_kubernetes_makes_of_services_is_no_setting() -> None:
    """As its pods have it for Services trimtab-operator, trimtab-metrics and trimtab."""
    links: dict[str, str] = {}
    for service, port in (("OPERATOR_", 8081), ("METRICS_", 9090), ("INFERENCE_", 8080), ("", 80)):
        one = f"TRIMTAB_{service}"
        url = f"tcp://10.96.0.1:{port}"
        links |= {
            f"{one}SERVICE_HOST": "10.96.0.1",
            f"{one}SERVICE_PORT": str(port),
            f"{one}SERVICE_PORT_HTTP": str(port),
            f"{one}PORT": url,
            f"{one}PORT_{port}_TCP": url,
            f"{one}PORT_{port}_TCP_PROTO": "tcp",
            f"{one}PORT_{port}_TCP_PORT": str(port),
            f"{one}PORT_{port}_TCP_ADDR": "10.96.0.1",
        }
    settings = read_settings(NEEDED | links)
    assert (settings.inference_port, settings.metrics_port) == (8080, 9090)
    told = links | {"TRIMTAB_METRICS_PORT": "9091"}
    assert read_settings(NEEDED | told).metrics_port == 9091
    with pytest.raises(SettingsInvalid, match="TRIMTAB_METRIC_PORT is no setting"):
        read_settings(NEEDED | {"TRIMTAB_METRIC_PORT": "9091"})


def test_what_is_said_to_others_is_none_of_ours() -> None:
    others = [*Variable, *OptionalVariable, "TRIMTAB_GRAFANA_URL", "TRIMTABLE", "OTHER"]
    environment = dict.fromkeys(others, "x") | NEEDED
    assert read_settings(environment).model == "m"


def test_what_the_operator_sets_is_known() -> None:
    source = Path(workload.__file__).read_text()
    set_there = set(re.findall(r"TRIMTAB_[A-Z_]+", source))
    assert len(set_there) > 10
    values = {
        "TRIMTAB_TRUST_PICKLE": "true",
        "TRIMTAB_COMPARE_FOR": "outcomes",
        "TRIMTAB_COMPARE_ARTIFACT_DIGEST": "sha256:" + "1" * 64,
    }
    read_settings(dict.fromkeys(set_there, "1") | values | NEEDED)


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
