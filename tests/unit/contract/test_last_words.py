"""The last words of a container are read, whatever it wrote."""

from __future__ import annotations

import pytest

from trimtab.contract.last_words import LastWords, last_words


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ('{"reason": "NotInStore", "message": "b"}', LastWords("NotInStore", "b"), "NotInStore: b"),
        ('a log\n{"reason": "A", "message": "b"}\n', LastWords("A", "b"), "A: b"),
        ("killed", LastWords("", "killed"), "killed"),
        ("", LastWords("", ""), ""),
        ("[1]", LastWords("", "[1]"), "[1]"),
        ('{"reason": 1}', LastWords("", '{"reason": 1}'), '{"reason": 1}'),
        ('{"reason": "A', LastWords("", '{"reason": "A'), '{"reason": "A'),
        ("[" * 2000, LastWords("", "[" * 2000), "[" * 2000),
    ],
)
def test_reads_what_a_container_says(text: str, words: LastWords, said: str) -> None:
    assert last_words(text) == words
    assert str(last_words(text)) == said
