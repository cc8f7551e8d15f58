"""Whatever a container answers, rows come out and no exception does."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aiohttp import web
from tests.unit.conform.judging import judged
from tests.unit.conform.reference import running

from trimtab.conform import run

ODD: list[Any] = [
    None, True, -1, 1.5, 10**30, "", "\0", [], {}, [[]], [None], [{}], [{"name": []}], float("nan"),
]  # fmt: skip
SPLINTERS = ["\n", "{", "}", '"', "\\", "=", ",", " NaN", "#", "1e999", ""]


def mangled(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {key: mangled(one, chance) for key, one in value.items() if chance.random() > 0.1}
    return [mangled(one, chance) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("seed", "share"), [(1, 0.02), (2, 0.05), (3, 0.05), (4, 0.5)])
async def test_rows_come_out(seed: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, plain = random.Random(seed), web.json_response
    changes = 0

    def answer(content: Any, **more: Any) -> web.Response:
        nonlocal changes
        if chance.random() > share:
            return plain(content, **more)
        changes += 1
        return plain(mangled(content, chance), **more)

    async with running() as reference:
        page = reference.tally.page

        def splintered() -> str:
            text = page()
            at = chance.randrange(len(text))
            return text[:at] + chance.choice(SPLINTERS) + text[at + chance.randrange(3) :]

        if seed % 2:
            monkeypatch.setattr(reference.tally, "page", splintered)
        monkeypatch.setattr(web, "json_response", answer)
        rows = await judged(reference, model="reference")
    assert len(rows) == len(run.checks(1.0))
    assert changes
