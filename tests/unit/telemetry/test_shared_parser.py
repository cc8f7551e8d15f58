"""One parser reads the pages of all pods: what one of them writes is nothing to the others."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable
from contextlib import suppress

import pytest

from trimtab.contract.identity import MOST_VERSIONS, Identities, identified
from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.exposition import (
    MAX_NEW_BYTES,
    MalformedExpositionError,
    Parser,
    UnidentifiedError,
)


def tabbed(version: str, digest: str) -> str:
    """A page that parts its values by a tab, as the text format allows."""
    inside = f'model="m",version="{version}",digest="{digest}",baseline="b"'
    return (
        f"trimtab_model_info{{{inside}}}\t1\n"
        f'trimtab_requests_total{{model="m",version="{version}",code="200"}}\t3\n'
    )


@pytest.mark.parametrize("version", ["v", "w", "v 2"])
def test_a_page_with_tabs_is_explained_by_its_own_info(version: str) -> None:
    parser = Parser()
    for page_version, digest in (("v", "sha256:1"), ("v 1", "sha256:2"), (version, "sha256:3")):
        found = parser.parse(tabbed(page_version, digest)).values
        assert {dict(labels)["digest"] for _, labels in found} == {digest}


def test_a_line_with_a_tab_lets_no_broken_line_pass() -> None:
    parser = Parser()
    parser.parse('trimtab_x{a="b c"}\t1\n')
    with pytest.raises(MalformedExpositionError):
        parser.parse('trimtab_x{a="b 1\n')


def kept_bytes(pages: Iterable[str]) -> int:
    """What a parser keeps of pages, bytes; at most."""
    parser, most = Parser(), 0
    tracemalloc.start()
    try:
        for text in pages:
            with suppress(MalformedExpositionError, UnidentifiedError):
                parser.parse(text)
            most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return most


MOST_KEPT = 96 * 1024 * 1024
"""Of the 512 MiB that the operator may take."""


def info_of(model: str, digest: str) -> str:
    return f'trimtab_model_info{{model="{model}",version="v",digest="{digest}",baseline="b"}} 1'


def infos_of(number: int, text: str) -> str:
    """As many info series as a page may have, of versions that no other page has."""
    return "\n".join(info_of(f"{number}-{one}", text) for one in range(MOST_VERSIONS))


def test_pages_that_are_refused_do_not_fill_the_memory() -> None:
    assert kept_bytes(f"!\n{infos_of(number, 'd' * 3900)}\n" for number in range(300)) < MOST_KEPT


def test_other_choices_of_the_same_infos_do_not_fill_the_memory() -> None:
    lines = [info_of(str(one), "d") for one in range(2 * MOST_VERSIONS)]
    drawn = random.Random(7)
    pages = ("\n".join(["!", *drawn.sample(lines, MOST_VERSIONS)]) for _ in range(2500))
    assert kept_bytes(pages) < MOST_KEPT // 2


def test_texts_beyond_ascii_do_not_fill_the_memory() -> None:
    wide = "\N{GRINNING FACE}" * 3900
    pages = (
        "\n".join(f'trimtab_x{{a{page}="{page}-{one}{wide}"}} 1' for one in range(200))
        for page in range(60)
    )
    assert kept_bytes(pages) < MOST_KEPT


def test_what_another_page_costs_meanwhile_is_not_told_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parser = Parser()

    def held_up(key: SeriesKey, identities: Identities) -> SeriesKey:
        """Large pages are parsed by threads, which take turns anywhere."""
        if key[0] == "trimtab_mine":
            parser._spent += MAX_NEW_BYTES
        return identified(key, identities)

    monkeypatch.setattr("trimtab.telemetry.exposition.identified", held_up)
    assert len(parser.parse('trimtab_mine{a="1"} 1\ntrimtab_mine{a="2"} 1\n').values) == 2


@pytest.mark.parametrize("end", [" 1\r\n", " 1 1700000000\n", "\t1\n"])
def test_a_page_that_is_read_again_and_again_costs_the_others_nothing(end: str) -> None:
    """Else all would be forgotten for it, and parsed anew at each scrape."""
    parser = Parser()
    page = "".join(f'trimtab_x{{a="{one}"}}{end}' for one in range(100))
    parser.parse(page)
    page += f"{info_of('m', 'd')[:-2]}{end}"
    parser.parse(page)
    spent = parser._spent
    for scrape in range(10):
        parser.parse(page.replace("1700000000", str(1700000000 + scrape)))
    assert parser._spent == spent
