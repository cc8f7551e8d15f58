"""Each clause of the contract, kept by one container and broken by another: the row tells them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.unit.conform.judging import judged
from tests.unit.conform.reference import Reference, running

from trimtab.conform import run
from trimtab.conform.rows import Verdict, is_conformant

BEARER = "secret"

BROKEN = {
    "server live": ["not live"],
    "server ready": ["not ready"],
    "server metadata": ["no extensions"],
    "model ready": ["model not ready"],
    "model metadata": ["no datatype", "metadata of another"],
    "infer": ["500 for all", "another model_name", "hangs"],
    "request id": ["no id"],
    "outputs": [
        "a shape of its own",
        "another datatype",
        "text for numbers",
        "an unknown output",
        "one row always",
    ],
    "outputs by name": ["all outputs always"],
    "parameters": ["no parameters"],
    "paths with version": ["no path with a version"],
    "binary tensors in": ["big-endian in"],
    "binary tensors out": ["big-endian out", "no length of the JSON"],
    "KServe v1 predict": ["a prediction too few"],
    "bad JSON": ["500: json", "200: json", "bare: json"],
    "body is no object": ["500: object"],
    "no inputs": ["500: inputs"],
    "missing input": ["500: missing"],
    "unknown input": ["500: unknown"],
    "wrong shape": ["500: shape", "200: shape"],
    "missing data": ["500: data"],
    "wrong datatype": ["500: datatype", "200: datatype"],
    "unknown model": ["500: model", "bare: model"],
    "unknown version": ["500: version"],
    "unknown path": ["500: path", "bare: path"],
    "wrong method": ["500: method"],
    "field at fault is named": ["errors tell nothing"],
    "many rows": ["500: rows", "bare: rows"],
    "alive after bad input": ["ill of bad input"],
    "probes": ["no probes"],
    "metrics page": ["no metrics page", "no text", "none of ours", "NaN"],
    "metrics apart": ["metrics in front"],
    "process start": ["no start", "a start with labels", "a start to come"],
    "identity labels": [
        "no digest",
        "no model info",
        "two digests of a version",
        "series without a version",
        "a digest of its own",
        "labels of another model",
        "labels of another version",
        "two versions",
    ],
    "requests counted": [
        "started stands still",
        "codes stand still",
        "every code is 200",
        "every page is counted",
        "started twice",
    ],
    "request seconds": ["seconds stand still", "other bounds", "buckets that fall"],
    "feature bins": ["a feature stands still", "a row too many in the bins", "bins by name"],
    "feature faults": ["no missing values"],
    "predicted rows": ["predicted stands still"],
    "score bins": ["scores stand still", "no score sums"],
    "probability sums": ["probabilities stand still"],
    "further metrics": ["no further metrics"],
    "OpenMetrics": ["no OpenMetrics"],
    "token in every answer": ["no token", "one token for all"],
    "outcome counted": ["no outcomes", "outcomes stand still", "outcomes of another"],
    "token not counted twice": ["counts a token again", "500 for a repeated token"],
    "changed token refused": [
        "takes a forged token",
        "500 for a forged token",
        "counts a forged token",
    ],
    "one truth a row": ["any number of truths"],
    "token of many rows": ["no token rows"],
    "outcomes apart": ["outcomes in front", "outcomes in front, 404"],
    "bearer": ["any bearer"],
    "outcomes by hour": ["no hours"],
    "refusals counted": ["refusals are not counted"],
}
CASES = [(check, clause) for check, clauses in BROKEN.items() for clause in clauses]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reference() -> AsyncIterator[Reference]:
    async with running() as one:
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_contract_is_kept(reference: Reference) -> None:
    reference.reset(bearer=BEARER)
    rows = await judged(reference)
    assert [
        row for row in rows if row.verdict is not Verdict.PASS and "drain" not in row.check
    ] == []
    assert is_conformant(rows)
    assert [row.verdict for row in rows[-3:]] == [Verdict.SKIP] * 3
    assert "--drain PID" in rows[-1].seen


@pytest.mark.parametrize(("check", "clause"), CASES, ids=[clause for _, clause in CASES])
async def test_a_broken_clause_fails_its_row(reference: Reference, check: str, clause: str) -> None:
    reference.reset(clause, BEARER)
    rows = await judged(reference, check)
    own = next(row for row in rows if row.check == check)
    assert own.verdict is Verdict.FAIL, own
    assert own.seen
    assert own.do
    assert is_conformant([own]) is not own.is_required


async def test_digests_on_all_series_as_before_are_fine(reference: Reference) -> None:
    reference.reset("digests on all series")
    assert [row for row in await judged(reference) if row.verdict is Verdict.FAIL] == []


async def test_a_model_of_one_row_a_request_is_not_asked_for_more(reference: Reference) -> None:
    reference.reset("rows are fixed")
    rows = {row.check: row for row in await judged(reference)}
    assert is_conformant(list(rows.values()))
    assert rows["many rows"].verdict is Verdict.SKIP
    assert rows["feature bins"].verdict is Verdict.PASS


async def test_what_builds_on_a_failed_check_is_skipped(reference: Reference) -> None:
    reference.reset("no metrics page")
    rows = {row.check: row for row in await judged(reference)}
    assert rows["outcome counted"].seen == "needs `metrics page` to pass"
    assert not is_conformant(list(rows.values()))


async def test_a_missing_bearer_is_told(reference: Reference) -> None:
    reference.reset(bearer="secret")
    rows = {row.check: row for row in await judged(reference, "outcome counted", bearer=None)}
    assert "--bearer-file" in rows["outcome counted"].do


async def test_every_check_can_fail() -> None:
    drained = {"drain: readiness", "drain: requests", "drain: end"}
    assert {check.name for check in run.checks(1.0)} == {*BROKEN, *drained}
