"""The document of a model: valid, bounded, and true of what the server takes and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from sklearn.dummy import DummyClassifier, DummyRegressor
from tests.unit.serving.loopback import Client, served_as, serving, vector
from tests.unit.serving.stored import Stored, numeric, store, with_digest

from trimtab.contract.artifact import Baseline, CategoricalFeature, Signature, Tensor
from trimtab.serving.counting.requests import RequestCounters
from trimtab.serving.http.access_log import AccessLogger
from trimtab.serving.http.messages import Request, Response
from trimtab.serving.inference.openapi import MOST_INPUTS
from trimtab.serving.inference.routes import Inference
from trimtab.serving.settings import ServingSettings


def made(
    folder: Path, signature: Signature, rows: Any, features: list[Any] | None = None
) -> Stored:
    """An artifact of a model that knows nothing, for any signature."""
    width = rows.shape[1]
    estimator: Any
    nothing = np.zeros((len(rows), width), dtype=np.int8)
    if signature.task == "regression":
        targets = sum(int(np.prod(one.shape)) for one in signature.outputs)
        truth: Any = np.arange(len(rows) * targets, dtype=float).reshape(len(rows), targets)
        estimator = DummyRegressor().fit(nothing, truth)
    else:
        truth = np.resize(signature.classes, len(rows))
        estimator = DummyClassifier(strategy="prior").fit(nothing, truth)
    score = numeric("score", np.linspace(0, 1, 50), 5)
    baseline = Baseline(
        digest="",
        n=50,
        features=features or [],
        score_edges=score.edges,
        score_counts=score.counts,
    )
    return store(folder, estimator, signature, with_digest(baseline), rows)


TEXTS = Signature(
    task="classification",
    inputs=[
        Tensor(name="age {years}", datatype="FP64", minimum=18, maximum=90, missing_allowed=True),
        Tensor(name='col"our', datatype="BYTES", categories=["rot", "x" * 150, "blau"]),
        Tensor(name="member", datatype="BOOL"),
        Tensor(name="visits", datatype="INT32", minimum=0),
        Tensor(name="note", datatype="BYTES", missing_allowed=True),
    ],
    outputs=[Tensor(name="class", datatype="BYTES")],
    classes=["no", "yes"],
)
TARGETS = Signature(
    task="regression",
    inputs=[Tensor(name="image", datatype="FP32", shape=[2, 3], minimum=0, maximum=255)],
    outputs=[
        Tensor(name="height", datatype="FP64"),
        Tensor(name="place", datatype="FP32", shape=[2]),
    ],
)
MANY = Signature(
    task="classification",
    inputs=[
        Tensor(name=f"x{index}", datatype="FP64", watched=False, missing_allowed=index % 2 == 0)
        for index in range(1000)
    ],
    outputs=[Tensor(name="class", datatype="INT64")],
    classes=["0", "1"],
)
LARGE = Signature(
    task="classification",
    inputs=[
        Tensor(name=f"{'x' * 180}.{index}", datatype="FP64", watched=False)
        for index in range(20_000)
    ],
    outputs=[Tensor(name="class", datatype="BYTES")],
    classes=sorted(f"{'c' * 60}{index}" for index in range(1000)),
)


def text_features() -> list[Any]:
    counted = {"categories": ["blau", "rot"], "counts": [25, 25]}
    return [
        numeric("age {years}", np.linspace(18, 90, 50)),
        CategoricalFeature(name='col"our', **counted),
        CategoricalFeature(name="member", categories=["false", "true"], counts=[25, 25]),
        numeric("visits", np.arange(50.0)),
        CategoricalFeature(name="note", categories=["long"], counts=[30], missing=20),
    ]


@pytest.fixture(
    params=["binary", "table", "regression", "texts", "targets", "many", "large"], scope="module"
)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = tmp_path_factory.mktemp("openapi")
    rows = np.zeros((50, 5))
    match request.param:
        case "texts":
            return made(folder, TEXTS, rows, text_features())
        case "targets":
            features = [numeric(f"image[{index}]", np.linspace(0, 9, 50)) for index in range(6)]
            return made(folder, TARGETS, np.zeros((50, 6)), features)
        case "many":
            return made(folder, MANY, np.zeros((50, 1000)))
        case "large":
            return made(folder, LARGE, np.zeros((1000, 20_000), dtype=np.int8))
    found: Stored = request.getfixturevalue(request.param)
    return found


async def document_of(client: Client) -> dict[str, Any]:
    answer = await client.front.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, Any] = answer.json()
    return content


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        yield path, item["post"]


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    found = document
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def check(document: dict[str, Any], content: dict[str, Any], value: Any) -> None:
    schema = content["application/json"]["schema"] | {"components": document["components"]}
    Draft202012Validator(schema).validate(value)


async def test_it_is_valid_and_its_examples_are_answered_as_it_says(
    settings: ServingSettings, stored: Stored
) -> None:
    async with serving(served_as(settings, stored)) as client:
        document = await document_of(client)
        OpenAPIV31SpecValidator(document).validate()
        asked = 0
        for path, operation in operations(document):
            body = operation["requestBody"]["content"]["application/json"]
            for name, reference in body.get("examples", {}).items():
                example = resolved(document, reference)["value"]
                check(document, operation["requestBody"]["content"], example)
                answer = await client.front.post(path, json=example)
                assert answer.status_code == 200, (path, name, answer.text[:300])
                check(document, operation["responses"]["200"]["content"], answer.json())
                asked += 1
        assert asked == (0 if len(stored.signature.inputs) == 20_000 else 3)


async def test_its_size_is_bounded(settings: ServingSettings, tmp_path: Path) -> None:
    stored = made(tmp_path, LARGE, np.zeros((1000, 20_000), dtype=np.int8))
    async with serving(served_as(settings, stored)) as client:
        first = await client.front.get("/openapi.json")
        assert len(first.content) < 20_000
        served = client.server.inference.served
        assert served is not None
        client.server.inference.served = replace_signature(served)
        assert (await client.front.get("/openapi.json")).content == first.content, "it is kept"
    inputs = first.json()["components"]["schemas"]["InferRequest"]["properties"]["inputs"]
    name = inputs["items"]["properties"]["name"]
    assert re.search(name["pattern"], LARGE.inputs[12_345].name)
    assert not re.search(name["pattern"], LARGE.inputs[12_345].name + "y")
    assert (inputs["minItems"], inputs["maxItems"]) == (20_000, 20_000)


def replace_signature(served: Any) -> Any:
    served.signature = TEXTS
    return served


async def test_ranges_and_categories_are_told_and_no_constraints(
    settings: ServingSettings, tmp_path: Path
) -> None:
    stored = made(tmp_path, TEXTS, np.zeros((50, 5)), text_features())
    async with serving(served_as(settings, stored)) as client:
        document = await document_of(client)
        schemas = document["components"]["schemas"]
        age, colour, *_ = schemas["InferRequest"]["properties"]["inputs"]["items"]["anyOf"]
        assert age["x-trained-range"] == {"minimum": 18, "maximum": 90}
        assert "minimum 18 and maximum 90" in age["description"]
        assert colour["x-trained-categories"] == ["rot", "blau"]
        assert "3 categories, of which 1 are not named here" in colour["description"]
        example = document["components"]["examples"]["Infer"]["value"]
        example["inputs"][0]["data"] = [None]
        example["inputs"][1]["data"] = ["grün"]
        path, operation = next(operations(document))
        check(document, operation["requestBody"]["content"], example)
        assert (await client.front.post(path, json=example)).status_code == 200
        example["inputs"][2]["data"] = [None]
        with pytest.raises(Exception, match="is not valid under any"):
            check(document, operation["requestBody"]["content"], example)
        assert (await client.front.post(path, json=example)).status_code == 400


def test_there_is_none_before_the_model_is_here() -> None:
    counters = RequestCounters()
    inference = Inference("digits", "v1", AccessLogger("off"), counters, max_body_bytes=1000)
    answers: list[Response] = []
    request = Request(0.0, lambda _, response: answers.append(response))
    request.method, request.path = "GET", "/openapi.json"
    assert inference.admit(request) is None
    inference.handle(request)
    assert answers[0].status == 503


async def test_names_that_need_quoting_are_paths(settings: ServingSettings, binary: Stored) -> None:
    odd = replace(settings, model="a b/{c}", version="1%é")
    async with serving(odd) as client:
        document = await document_of(client)
        OpenAPIV31SpecValidator(document).validate()
        paths = list(document["paths"])
        assert paths[0] == f"/v2/models/{quote('a b/{c}', safe='')}/infer"
        for path in paths[:2]:
            answer = await client.front.post(path, json={"inputs": vector(binary.rows[:1])})
            assert answer.status_code == 200, path


async def test_the_classes_are_named_where_probabilities_are(
    settings: ServingSettings, table: Stored
) -> None:
    async with serving(served_as(settings, table)) as client:
        document = await document_of(client)
    outputs = document["components"]["schemas"]["InferAnswer"]["properties"]["outputs"]
    chosen, probable = outputs["items"]["anyOf"]
    assert chosen["properties"]["data"]["items"]["enum"] == ["low", "mid", "top"]
    assert probable["x-classes"] == ["low", "mid", "top"]


def test_few_inputs_are_described_one_by_one() -> None:
    assert MOST_INPUTS < 1000 == len(MANY.inputs)
