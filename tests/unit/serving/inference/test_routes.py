"""The inference port as a client sees it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import KEY, Stored, store

from trimtab.contract.artifact import Tensor
from trimtab.contract.token import read_token
from trimtab.serving.settings import ServingSettings


async def test_infer_answers_what_the_model_says(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        answer = await client.infer(
            vector(binary.rows[:3]), id="a-1", parameters={"trace": "x", "n": 3}
        )
    content = answer.json()
    assert answer.status_code == 200
    assert (content["model_name"], content["model_version"]) == ("digits", "v1")
    assert content["id"] == "a-1"
    assert content["parameters"]["trace"] == "x"
    assert content["parameters"]["n"] == 3
    chosen, probabilities = content["outputs"]
    assert chosen["datatype"] == "INT64"
    assert chosen["shape"] == [3]
    assert chosen["data"] == binary.estimator.predict(binary.rows[:3]).tolist()
    assert probabilities["shape"] == [3, 2]
    np.testing.assert_allclose(
        probabilities["data"], binary.estimator.predict_proba(binary.rows[:3]).ravel()
    )
    token = read_token(content["parameters"]["trimtab_token"], KEY)
    assert token.predicted == tuple(str(value) for value in chosen["data"])
    assert (token.digest, token.model, token.version) == (binary.digest, "digits", "v1")
    assert token.baseline == binary.baseline.digest


async def test_nested_data_and_the_versions_path_are_taken(
    settings: ServingSettings, binary: Stored
) -> None:
    rows = binary.rows[:2]
    nested = [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": rows.tolist()}]
    async with serving(settings) as client:
        flat = await client.infer(vector(rows))
        answer = await client.front.post(
            "/v2/models/digits/versions/v1/infer", json={"inputs": nested}
        )
    assert answer.json()["outputs"] == flat.json()["outputs"]


async def test_one_output_can_be_asked_for(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        answer = await client.infer(vector(binary.rows[:2]), outputs=[{"name": "class"}])
    assert [output["name"] for output in answer.json()["outputs"]] == ["class"]


async def test_a_table_of_columns_is_predicted(settings: ServingSettings, table: Stored) -> None:
    rows = table.rows[:5]
    inputs = [
        {"name": "z", "datatype": "FP64", "shape": [5, 1], "data": rows[:, 3].tolist()},
        {"name": "colour", "datatype": "BYTES", "shape": [5], "data": rows[:, 1].tolist()},
        {"name": "age", "datatype": "INT32", "shape": [5], "data": [int(v) for v in rows[:, 0]]},
        {"name": "member", "datatype": "BOOL", "shape": [5], "data": [v > 0 for v in rows[:, 2]]},
    ]
    async with serving(served_as(settings, table)) as client:
        answer = await client.infer(inputs)
        instances = [
            {"age": int(a), "colour": c, "member": m > 0, "z": float(z)} for a, c, m, z in rows
        ]
        old = await client.front.post("/v1/models/digits:predict", json={"instances": instances})
        as_lists = [[int(a), c, m > 0, float(z)] for a, c, m, z in rows]
        listed = await client.front.post("/v1/models/digits:predict", json={"instances": as_lists})
    wanted = table.estimator.predict(rows).tolist()
    assert answer.json()["outputs"][0]["data"] == wanted
    assert old.json()["predictions"] == wanted
    assert listed.json()["predictions"] == wanted
    assert read_token(old.json()["parameters"]["trimtab_token"], KEY).predicted == tuple(wanted)


async def test_numbers_are_predicted(settings: ServingSettings, regression: Stored) -> None:
    rows = regression.rows[:4]
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [4], "data": rows[:, i].tolist()}
        for i, name in enumerate("ab")
    ]
    async with serving(served_as(settings, regression)) as client:
        answer = await client.infer(inputs)
    values = answer.json()["outputs"][0]["data"]
    np.testing.assert_allclose(values, regression.estimator.predict(rows))
    token = read_token(answer.json()["parameters"]["trimtab_token"], KEY)
    assert token.predicted == tuple(values)


async def test_a_token_covers_256_rows(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        answer = await client.infer(vector(binary.rows[:300]))
    parameters = answer.json()["parameters"]
    assert parameters["trimtab_token_rows"] == 256
    assert len(read_token(parameters["trimtab_token"], KEY).predicted) == 256


async def test_without_a_key_there_is_no_token(settings: ServingSettings, binary: Stored) -> None:
    async with serving(replace(settings, token_key_file=None)) as client:
        answer = await client.infer(vector(binary.rows[:1]))
        outcome = await client.back.post("/outcomes", json=[{"token": "x", "actual": 1}])
    assert answer.json()["parameters"] == {}
    assert outcome.status_code == 404


async def test_pages_of_the_protocol(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        for path, wanted in {
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            "/v2/models/digits/ready": {"name": "digits", "ready": True},
            "/v2/models/digits/versions/v1/ready": {"name": "digits", "ready": True},
            "/v1/models": {"models": ["digits"]},
            "/v1/models/digits": {"name": "digits", "ready": True},
        }.items():
            page = await client.front.get(path)
            assert (page.status_code, page.json()) == (200, wanted), path
        server = (await client.front.get("/v2")).json()
        assert server["name"] == "trimtab"
        for path in ("/v2/models/digits", "/v2/models/digits/versions/v1"):
            page = (await client.front.get(path)).json()
            assert page["versions"] == ["v1"]
            assert page["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]
            assert page["parameters"]["digest"] == binary.digest
        head = await client.front.head("/v2/health/live")
        assert (head.status_code, head.content) == (200, b"")


async def test_probabilities_come_when_a_parameter_asks(
    settings: ServingSettings, binary: Stored, regression: Stored, tmp_path: Path
) -> None:
    only_class = binary.signature.model_copy(update={"outputs": binary.signature.outputs[:1]})
    stored = store(tmp_path, binary.estimator, only_class, binary.baseline, binary.rows)
    rows = vector(binary.rows[:3])
    async with serving(served_as(settings, stored)) as client:
        plain = (await client.infer(rows)).json()["outputs"]
        asked = (await client.infer(rows, parameters={"probabilities": True})).json()["outputs"]
        named = (await client.infer(rows, outputs=[{"name": "probabilities"}])).json()["outputs"]
        wrong = await client.infer(rows, parameters={"probabilities": "yes"})
        top = [{"name": "class", "parameters": {"classification": 1}}]
        no_classes = await client.infer(rows, outputs=top)
    assert [output["name"] for output in plain] == ["class"]
    assert [output["name"] for output in asked] == ["class", "probabilities"]
    assert named == asked[1:]
    np.testing.assert_allclose(
        asked[1]["data"], binary.estimator.predict_proba(binary.rows[:3]).ravel()
    )
    assert (wrong.status_code, no_classes.status_code) == (400, 400)
    async with serving(served_as(settings, regression)) as client:
        pair = vector([1.0], "a") + vector([2.0], "b")
        none = await client.infer(pair, parameters={"probabilities": True})
    assert none.status_code == 400
    assert "parameters.probabilities: the model gives none" in none.json()["error"]


async def test_targets_of_a_regression_have_names(
    settings: ServingSettings, regression: Stored, tmp_path: Path
) -> None:
    rows = regression.rows
    values = np.column_stack([rows @ [2.0, -1.0], rows[:, 0], -rows[:, 1]])
    estimator = LinearRegression().fit(rows, values)
    outputs = [Tensor(name="value", datatype="FP64"), Tensor(name="r", datatype="FP32", shape=[2])]
    signature = regression.signature.model_copy(update={"outputs": outputs})
    stored = store(tmp_path, estimator, signature, regression.baseline, rows)
    inputs = vector(rows[:3, 0], "a") + vector(rows[:3, 1], "b")
    async with serving(served_as(settings, stored)) as client:
        content = (await client.infer(inputs)).json()
    first, rest = content["outputs"]
    np.testing.assert_allclose(first["data"], values[:3, 0])
    assert rest["shape"] == [3, 2]
    np.testing.assert_array_equal(
        np.array(rest["data"], np.float32), estimator.predict(rows[:3])[:, 1:].ravel().astype("f4")
    )
    token = read_token(content["parameters"]["trimtab_token"], KEY)
    assert token.predicted == tuple(first["data"])


async def test_methods_are_told(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        for path, allowed in {
            "/v2": "GET, HEAD, OPTIONS",
            "/v2/models/digits/infer": "POST, OPTIONS",
        }.items():
            asked = await client.front.request("OPTIONS", path)
            refused = await client.front.request("DELETE", path)
            assert (asked.status_code, asked.headers["allow"]) == (200, allowed)
            assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
