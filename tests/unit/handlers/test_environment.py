"""What the chart passes is read once, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.loop_objects import model_version

from trimtab.api.model_version import ModelVersion
from trimtab.handlers.environment import read_environment

NEEDED = {"TRIMTAB_SERVING_IMAGE": "serving:1", "TRIMTAB_TRAINING_IMAGE": "training:1"}


def version(form: str = "sklearn", phase: str = "Verified", needs: Any = ()) -> ModelVersion:
    body = model_version()
    body["spec"]["artifact"]["format"] = form
    return ModelVersion.model_validate(
        body | {"status": {"phase": phase, "frameworks": list(needs)}}
    )


def test_images_are_enough() -> None:
    environment = read_environment(NEEDED)
    assert environment.settings.serving_image == "serving:1"
    assert environment.settings.serving_image_for(version("onnx")) == "serving:1"
    assert environment.settings.serving_image_for(version(needs=["pandas"])) == "serving:1"
    assert environment.settings.watch_namespaces == ()
    assert environment.settings.store_credentials is None
    assert environment.settings.checkpoint_uri is None
    assert environment.http_port == 8081
    assert environment.identity


def test_everything_can_be_set() -> None:
    environment = read_environment(
        NEEDED
        | {
            "TRIMTAB_NAMESPACE": "ops",
            "TRIMTAB_POD_NAME": "trimtab-0",
            "TRIMTAB_WATCH_NAMESPACES": "shop, lab,shop,",
            "TRIMTAB_LEASE_NAME": "mine",
            "TRIMTAB_HTTP_PORT": "9000",
            "TRIMTAB_STORE_CREDENTIALS": "/var/run/x",
            "TRIMTAB_CHECKPOINT_URI": "s3://models/kept",
            "TRIMTAB_SIGNING_KEY_FILE": "/var/run/y",
            "TRIMTAB_IMAGE_PULL_POLICY": "Always",
            "TRIMTAB_LOG_LEVEL": "debug",
        }
    )
    assert environment.settings.watch_namespaces == ("lab", "shop")
    assert environment.settings.operator_namespace == "ops"
    assert environment.settings.store_credentials == "/var/run/x"
    assert environment.settings.checkpoint_uri == "s3://models/kept"
    assert environment.settings.signing_key_file == "/var/run/y"
    assert environment.settings.image_pull_policy == "Always"
    assert environment.identity == "trimtab-0"
    assert environment.lease_name == "mine"
    assert environment.http_port == 9000
    assert environment.log_level == "DEBUG"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        pytest.param({}, "TRIMTAB_SERVING_IMAGE", id="no_serving_image"),
        pytest.param(NEEDED | {"TRIMTAB_TRAINING_IMAGE": ""}, "TRAINING", id="empty_image"),
        pytest.param(NEEDED | {"TRIMTAB_HTTP_PORT": "x"}, "HTTP_PORT", id="port_is_no_number"),
        pytest.param(NEEDED | {"TRIMTAB_HTTP_PORT": "70000"}, "HTTP_PORT", id="port_too_large"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_environment(environ)


def test_graphs_have_an_image_of_their_own() -> None:
    settings = read_environment(NEEDED | {"TRIMTAB_SERVING_ONNX_IMAGE": "onnx:1"}).settings
    assert settings.serving_image_for(version("onnx")) == "onnx:1"
    assert settings.serving_image_for(version("onnx", phase="Unknown")) == "onnx:1"
    assert settings.serving_image_for(version()) == "serving:1"


def test_tables_and_boosters_have_an_image_of_their_own() -> None:
    settings = read_environment(NEEDED | {"TRIMTAB_SERVING_TABLES_IMAGE": "tables:1"}).settings
    assert settings.serving_image_for(version(needs=["xgboost"])) == "tables:1"
    assert settings.serving_image_for(version()) == "serving:1"
    # Where the operator cannot read the manifest, the image that serves any estimator.
    assert settings.serving_image_for(version(phase="Unknown")) == "tables:1"


def test_destinations_are_read_from_their_file(tmp_path: Path) -> None:
    assert read_environment(NEEDED).settings.notifications.destinations == []
    file = tmp_path / "notifications.json"
    told = {
        "TRIMTAB_NOTIFICATIONS_FILE": str(file),
        "TRIMTAB_NOTIFICATIONS_SECRETS": "/var/run/z",
    }
    with pytest.raises(ValueError, match=r"notifications\.json cannot be read"):
        read_environment(NEEDED | told)
    file.write_text(json.dumps({"destinations": [{"name": "a", "type": "teams"}]}))
    settings = read_environment(NEEDED | told).settings
    assert [one.name for one in settings.notifications.destinations] == ["a"]
    assert settings.notification_secrets == "/var/run/z"
