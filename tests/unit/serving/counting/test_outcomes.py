"""Truths by token: counted once, for the version that predicted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.serving.loopback import Client, served_as, serving, vector
from tests.unit.serving.stored import KEY, Stored

from trimtab.contract.cardinality import tells_pairs_by_hour
from trimtab.contract.token import ID_BYTES, TokenWriter
from trimtab.serving.counting.outcomes import MAX_VERSIONS, Identity, Outcomes
from trimtab.serving.counting.repeats import RepeatMemory
from trimtab.serving.inference.served import hour_now
from trimtab.serving.settings import ServingSettings
from trimtab.telemetry.exposition import Parser

DIGEST = "sha256:" + "11" * 32
BASELINE = "sha256:" + "22" * 32


def token(
    number: int,
    *,
    key: bytes = KEY,
    hour: int | None = None,
    version: str = "v0",
    classes: tuple[str, ...] = ("0", "1", "2"),
    indices: tuple[int, ...] = (1,),
) -> str:
    writer = TokenWriter(
        key, digest=DIGEST, baseline=BASELINE, model="digits", version=version, classes=classes
    )
    return writer.classes(
        indices,
        bytes(len(indices)),
        hour=hour_now() if hour is None else hour,
        id=number.to_bytes(ID_BYTES, "little"),
    )


async def post(client: Client, *items: Any) -> Any:
    return await client.back.post("/outcomes", json=list(items))


async def test_an_answer_is_labelled(settings: ServingSettings, binary: Stored) -> None:
    rows = binary.rows[:10]
    truth = [1] * 10
    async with serving(settings) as client:
        answer = (await client.infer(vector(rows))).json()
        given = answer["parameters"]["trimtab_token"]
        result = await post(client, {"token": given, "actual": truth})
        counted = await client.metrics()
    assert result.status_code == 200
    assert result.json()["counted"] == 1
    assert result.json()["results"] == [{"status": "counted", "rows": 10}]
    predicted = answer["outputs"][0]["data"]
    for name in ("0", "1"):
        assert counted[f"trimtab_outcomes_total{{predicted={name},actual=1}}"] == predicted.count(
            int(name)
        )
    right = predicted.count(1)
    hour = hour_now()
    by_hour = f"trimtab_outcomes_by_hour_total{{hour={hour},correct="
    assert counted[f"{by_hour}true,predicted=1,actual=1}}"] == right
    assert counted[f"{by_hour}false,predicted=0,actual=1}}"] == 10 - right


async def test_numbers_are_labelled_by_their_error(
    settings: ServingSettings, regression: Stored
) -> None:
    inputs = [{"name": name, "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]} for name in "ab"]
    async with serving(served_as(settings, regression)) as client:
        answer = (await client.infer(inputs)).json()
        given = answer["parameters"]["trimtab_token"]
        values = answer["outputs"][0]["data"]
        refused = await post(client, {"token": given, "actual": ["a", 1]})
        result = await post(client, {"token": given, "actual": [values[0] - 1, values[1] + 3]})
        counted = await client.metrics()
    assert refused.status_code == 400
    assert result.status_code == 200
    assert counted["trimtab_outcome_errors_count"] == 2
    assert counted["trimtab_outcome_errors_sum"] == pytest.approx(-2)
    assert counted["trimtab_outcome_errors_squares_total"] == pytest.approx(10)
    assert counted["trimtab_outcome_errors_absolute_total"] == pytest.approx(4)
    by_hour = f"{{hour={hour_now()}}}"
    assert counted[f"trimtab_outcome_errors_by_hour_count{by_hour}"] == 2
    assert counted[f"trimtab_outcome_errors_by_hour_sum{by_hour}"] == pytest.approx(-2)
    assert counted[f"trimtab_outcome_errors_by_hour_squares_total{by_hour}"] == pytest.approx(10)
    assert counted[f"trimtab_outcome_errors_by_hour_absolute_total{by_hour}"] == pytest.approx(4)


async def test_bad_late_and_repeated_tokens(settings: ServingSettings) -> None:
    late = hour_now() - 7 * 24 - 3
    async with serving(settings) as client:
        for item, status, reason in [
            ({"token": token(1, key=b"x" * 32), "actual": 1}, 400, "forged"),
            ({"token": token(2, hour=late), "actual": 1}, 422, "late"),
            ({"token": token(3, hour=hour_now() + 3), "actual": 1}, 400, "malformed"),
            ({"token": "nonsense", "actual": 1}, 400, "malformed"),
            ({"token": 5, "actual": 1}, 400, "malformed"),
            ({"actual": 1}, 400, "malformed"),
            ({"token": token(4)}, 400, "malformed"),
            ({"token": token(5), "actual": [1, 1]}, 400, "malformed"),
            ({"token": token(5), "actual": {}}, 400, "malformed"),
            ({"token": token(5), "actual": 1.5}, 400, "malformed"),
            (7, 400, "malformed"),
        ]:
            result = await post(client, item)
            assert result.status_code == status, item
            assert result.json()["results"][0]["reason"] == reason, item
            assert "error" in result.json()
        good = {"token": token(6), "actual": "1"}
        assert (await post(client, good)).status_code == 200
        again = await post(client, good)
        both = await post(client, good, {"token": token(7), "actual": 0}, {"token": "x"})
        mixed = await post(client, good, {"token": "x", "actual": 1})
        counted = await client.metrics()
    assert (again.status_code, again.json()["results"][0]["reason"]) == (409, "repeated")
    assert (both.status_code, both.json()["counted"], both.json()["refused"]) == (200, 1, 2)
    assert mixed.status_code == 422
    assert counted["trimtab_tokens_refused_total{reason=forged}"] == 1
    assert counted["trimtab_tokens_refused_total{reason=late}"] == 1
    assert counted["trimtab_tokens_refused_total{reason=repeated}"] == 3
    assert counted["trimtab_outcomes_total{predicted=1,actual=1}"] == 1


async def test_a_number_is_no_answer_of_a_classifier(
    settings: ServingSettings, binary: Stored
) -> None:
    writer = TokenWriter(
        KEY, digest=binary.digest, baseline=binary.baseline.digest, model="digits", version="v1"
    )
    wrong = writer.values([1.5], hour=hour_now(), id=bytes(ID_BYTES))
    async with serving(settings) as client:
        answer = await post(client, {"token": wrong, "actual": 1})
        counted = await client.metrics()
    assert (answer.status_code, answer.json()["results"][0]["reason"]) == (400, "malformed")
    assert counted["trimtab_tokens_refused_total{reason=malformed}"] == 1


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'"x"', b"[" * 5000, b"[" + b"1," * 10_001 + b"1]"]
)
async def test_bodies_that_are_no_list_are_refused(
    settings: ServingSettings, content: bytes
) -> None:
    async with serving(settings) as client:
        result = await client.back.post("/outcomes", content=content)
    assert result.status_code in (400, 413)
    assert "error" in result.json()


async def test_a_bearer_is_wanted_where_one_is_set(settings: ServingSettings) -> None:
    from dataclasses import replace

    file = settings.scratch / "bearer"
    file.write_text("s3cret\n")
    item = {"token": token(1), "actual": 1}
    async with serving(replace(settings, outcomes_bearer_file=file)) as client:
        without = await post(client, item)
        wrong = await client.back.post(
            "/outcomes", json=[item], headers={"authorization": "Bearer no"}
        )
        right = await client.back.post(
            "/outcomes", json=[item], headers={"authorization": "Bearer s3cret"}
        )
    assert (without.status_code, wrong.status_code, right.status_code) == (401, 401, 200)


async def test_tokens_of_another_version_count_for_that_version(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        await post(client, {"token": token(1), "actual": "2"}, {"token": token(2), "actual": 1})
        page = (await client.back.get("/metrics")).text
    of_v0 = 'model="digits",version="v0"'
    assert f'trimtab_outcomes_total{{{of_v0},predicted="1",actual="1"}} 1\n' in page
    whole = f'{of_v0},digest="{DIGEST}",baseline="{BASELINE}"'
    assert page.count("\ntrimtab_model_info{") == 2
    assert f"trimtab_model_info{{{whole}}} 1\n" in page
    # "2" is known to neither token nor pod.
    assert 'predicted="1",actual="(other)"' in page


async def test_a_version_of_the_same_name_with_other_bytes_says_its_digest_itself(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        await post(client, {"token": token(1, version="v1"), "actual": "1"})
        page = (await client.back.get("/metrics")).text
    assert page.count("\ntrimtab_model_info{") == 1
    rows = {
        dict(labels)["digest"]: value
        for (name, labels), value in Parser().parse(page).values.items()
        if name == "trimtab_outcomes_total" and {("predicted", "1"), ("actual", "1")} <= labels
    }
    assert rows == {binary.digest: 0, DIGEST: 1}


def outcomes(classes: tuple[str, ...] = ("0", "1"), hour: int = 1000) -> Outcomes:
    own = Identity("digits", "v1", DIGEST, BASELINE)
    return Outcomes(KEY, own, classes, delay_hours=10, hour_now=lambda: hour)


def pairs(counted: Outcomes) -> dict[tuple[str, str], float]:
    family = counted.families()[0]
    found = {}
    for name, value in family.samples:
        if value:
            inside = dict(part.split("=", 1) for part in name.split("{")[1].rstrip("}").split(","))
            found[inside["predicted"].strip('"'), inside["actual"].strip('"')] = value
    return found


@pytest.mark.parametrize(
    ("classes", "actual", "name"),
    [
        (("0", "1"), 1, "1"),
        (("0", "1"), 1.0, "1"),
        (("0", "1"), "1", "1"),
        (("1", "2"), 2, "2"),
        (("cat", "dog"), 1, "dog"),
        (("cat", "dog"), "cat", "cat"),
        (("False", "True"), True, "True"),
        (("no", "yes"), True, "yes"),
        (("cat", "dog"), "bird", "(other)"),
        (("cat", "dog"), 7, "(other)"),
        (("cat", "other"), "bird", "(other)"),
    ],
)
def test_actual_is_a_name_or_a_number(classes: tuple[str, ...], actual: Any, name: str) -> None:
    counted = outcomes(classes)
    [result] = counted.add([{"token": token(1, classes=classes, hour=1000), "actual": actual}])
    assert result["status"] == "counted"
    assert pairs(counted) == {(classes[1], name): 1}


def test_rows_without_truth_are_left_out() -> None:
    counted = outcomes()
    item = {"token": token(1, indices=(0, 1, 1), hour=1000), "actual": [0, None, 0]}
    assert counted.add([item]) == [{"status": "counted", "rows": 2}]
    assert pairs(counted) == {("0", "0"): 1, ("1", "0"): 1}


def test_versions_are_bounded() -> None:
    counted = outcomes()
    results = counted.add(
        [
            {"token": token(n + 1, version=f"other{n}", hour=1000), "actual": 1}
            for n in range(MAX_VERSIONS + 3)
        ]
    )
    refused = [result for result in results if result["status"] == "refused"]
    assert {result["reason"] for result in refused} == {"tooManyVersions"}
    assert len(refused) == 4  # the pod's own version takes one place


def test_hours_beyond_the_delay_are_forgotten() -> None:
    now = [1000]
    own = Identity("digits", "v1", DIGEST, BASELINE)
    counted = Outcomes(KEY, own, ("0", "1"), delay_hours=10, hour_now=lambda: now[0])
    counted.add([{"token": token(1, hour=995), "actual": 1}])
    assert len(list(counted.families()[1].samples)) == 1
    now[0] = 1010
    assert not list(counted.families()[1].samples)
    assert pairs(counted) == {("1", "1"): 1}


@pytest.mark.parametrize(
    ("classes", "hours", "has_pairs"),
    [(2, 170, True), (10, 50, True), (10, 51, False), (11, 1, False), (5, 200, True)],
)
def test_pairs_by_hour_are_bounded(classes: int, hours: int, has_pairs: bool) -> None:
    assert tells_pairs_by_hour(classes, hours) is has_pairs


def test_many_classes_are_told_by_hour_as_right_or_wrong() -> None:
    names = tuple(str(n) for n in range(12))
    counted = outcomes(names)
    item = {"token": token(1, classes=names, indices=(0, 1), hour=1000), "actual": [0, 0]}
    counted.add([item])
    hours = {name.partition("hour=")[2]: value for name, value in counted.families()[1].samples}
    assert hours == {'"1000",correct="true"}': 1, '"1000",correct="false"}': 1}


def test_the_memory_of_repeats_is_bounded_and_long() -> None:
    memory = RepeatMemory()
    ids = [(n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "little") for n in range(1, 600_001)]
    assert all(memory.add(id) for id in ids)
    assert not any(memory.add(id) for id in ids[-500_000:])
