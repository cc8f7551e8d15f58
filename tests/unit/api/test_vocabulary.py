"""Every condition, reason and event has a sentence, and something in the operator says it."""

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from trimtab.api.conditions import ConditionType, EventReason, Reason
from trimtab.api.kinds import KINDS
from trimtab.generate.vocabulary import Word, words_of

PACKAGE = Path(__file__).parents[3] / "operator" / "trimtab"
DECLARED = PACKAGE / "api" / "conditions.py"
VOCABULARIES = [ConditionType, Reason, EventReason]
KIND_NAMES = {info.kind for info in KINDS}
STATUS_PARTS = {"gate", "history", "rejected"}
"""Where a reason is said in the status of a Deployment, beside its conditions."""


def _members_used() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        if path == DECLARED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id=vocabulary), attr=member):
                    yield vocabulary, member


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda one: one.__name__)
def test_every_member_is_said_somewhere(vocabulary: type[StrEnum]) -> None:
    used = set(_members_used())
    silent = [m.name for m in vocabulary if (vocabulary.__name__, m.name) not in used]
    assert silent == []


@pytest.mark.parametrize("vocabulary", [ConditionType, EventReason], ids=lambda one: one.__name__)
def test_sentence_names_kinds(vocabulary: type[StrEnum]) -> None:
    for word in words_of(vocabulary):
        assert set(word.places) <= KIND_NAMES, word


def test_sentence_of_a_reason_names_conditions_or_parts_of_status() -> None:
    for word in words_of(Reason):
        named = {place if place in set(ConditionType) else place.lower() for place in word.places}
        assert named <= set(ConditionType) | STATUS_PARTS, word


def test_text_is_places_meaning_and_advice() -> None:
    class Weather(StrEnum):
        RAIN = "Rain"
        """Ground, roof: water falls
        from clouds.

        Take an umbrella:
        a large one.
        """

    assert words_of(Weather) == [
        Word(
            "Rain", ("Ground", "roof"), "water falls from clouds.", "Take an umbrella: a large one."
        )
    ]


def test_a_member_without_a_text_is_an_error() -> None:
    class Weather(StrEnum):
        SUN = "Sun"
        RAIN = "Rain"
        """Ground: water falls."""

    with pytest.raises(ValueError, match=r"Weather\.SUN needs a text"):
        words_of(Weather)
