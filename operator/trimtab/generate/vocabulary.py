"""The sentences of a vocabulary: what stands under each member of a StrEnum in its source.

Python keeps no docstring of an enum's member, so the source is read.
"""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from enum import StrEnum

from trimtab.api.kinds import KINDS


@dataclass(frozen=True)
class Word:
    """One member: where it is said, what it means, what a person can do about it ("": nothing)."""

    value: str
    places: tuple[str, ...]
    meaning: str
    advice: str = ""


def words_of(vocabulary: type[StrEnum]) -> list[Word]:
    """Return every member in its order.

    A text reads `PLACE, PLACE: meaning.` or `All kinds: meaning.`, and may go on with a paragraph
    of advice. Raises ValueError where a member has no such text.
    """
    texts = _texts(vocabulary)
    return [_word(vocabulary, member, texts.get(member.name, "")) for member in vocabulary]


def _texts(vocabulary: type[StrEnum]) -> dict[str, str]:
    """Return the string literal that follows each assignment of the class, by name."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(vocabulary))).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    for before, after in zip(definition.body, definition.body[1:], strict=False):
        match before, after:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = inspect.cleandoc(text)
    return texts


def _places(text: str) -> tuple[str, ...]:
    if text == "All kinds":
        return tuple(info.kind for info in KINDS)
    return tuple(place.strip() for place in text.split(","))


def _word(vocabulary: type[StrEnum], member: StrEnum, text: str) -> Word:
    head, _, advice = text.partition("\n\n")
    places, colon, meaning = head.partition(": ")
    if not colon or not meaning.endswith("."):
        raise ValueError(
            f"{vocabulary.__name__}.{member.name} needs a text below it: "
            '"""Place, Place: what it means."""'
        )
    return Word(
        value=member.value,
        places=_places(places),
        meaning=" ".join(meaning.split()),
        advice=" ".join(advice.split()),
    )
