"""Pydantic accepts and refuses what the API server accepts and refuses (tests/e2e/api)."""

import re

import pytest
from pydantic import ValidationError
from tests.unit.api.cases import BAD, GOOD, LATER, UPDATES_ACCEPTED, Case

from trimtab.api.kinds import KINDS

MODELS = {info.kind: info.model for info in KINDS}


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_accepts(case: Case) -> None:
    read = MODELS[case.obj["kind"]].model_validate(case.obj)
    assert read.metadata.name == case.obj["metadata"]["name"]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_refuses_and_names_the_field(case: Case) -> None:
    with pytest.raises(ValidationError) as refused:
        MODELS[case.obj["kind"]].model_validate(case.obj)
    wanted = re.findall(r"\w+", case.field)[-1 if not case.field.endswith("]") else -2]
    named = {
        word
        for error in refused.value.errors()
        for word in [*map(str, error["loc"]), *re.findall(r"\w+", error["msg"])]
    }
    assert wanted in named, refused.value


@pytest.mark.parametrize("case", LATER, ids=lambda case: case.name)
def test_ignores_fields_of_newer_releases(case: Case) -> None:
    MODELS[case.obj["kind"]].model_validate(case.obj)


def test_tables_are_long_enough_and_told_apart_by_name() -> None:
    names = [case.name for case in [*GOOD, *BAD, *LATER]] + [u.name for u in UPDATES_ACCEPTED]
    assert len(BAD) >= 60
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_writes_what_it_read(case: Case) -> None:
    model = MODELS[case.obj["kind"]]
    read = model.model_validate(case.obj)
    written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert model.model_validate(written) == read
