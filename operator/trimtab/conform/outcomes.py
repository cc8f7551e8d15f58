"""Tokens in answers, and truths that come back with them: counted once, never for a forged one.

What must count nothing is posted first and a good token after it: when that one is counted, the
others would have been.
"""

from __future__ import annotations

import string
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import httpx

from trimtab.conform.bad_input import refusal
from trimtab.conform.container import Container, json_of, shown
from trimtab.conform.page import grows_by, known_page
from trimtab.conform.rows import Check, Failed, Skipped, optional, required
from trimtab.conform.tensors import Body, rows_of
from trimtab.contract import metrics
from trimtab.contract.token import MAX_ROWS

TOKEN: Final = "trimtab_token"
TOKEN_ROWS: Final = "trimtab_token_rows"
MANY_ROWS: Final = MAX_ROWS + 44
_LETTERS: Final = string.ascii_letters + string.digits + "-_"
_ONCE: Final = "count a token's rows once, for the version that predicted"


async def _given(container: Container) -> str:
    body = container.request()
    tokens = [await token_of(container, body) for _ in range(3)]
    if len({token for token, _ in tokens}) < len(tokens):
        raise Failed("two answers have the same token", "give each answer a token of its own")
    container.facts["has tokens"] = True
    return f"{len(tokens[0][0])} characters in parameters.{TOKEN}"


async def _counted(container: Container) -> str:
    token, rows = await _fresh(container)
    truths = await _truths(container, rows)
    await _counts(container, token, truths, **container.facts.get("identity", {}))
    return f"{rows} rows in {_name(truths)}"


async def _not_twice(container: Container) -> str:
    token, rows = await _fresh(container)
    truths = await _truths(container, rows)
    await _counts(container, token, truths)

    async def again() -> str:
        response = await _post(container, token, truths)
        if response.status_code >= 500:
            raise Failed(shown(response), "answer 4xx")
        return str(response.status_code)

    return f"{await _counts_nothing(container, again)} for the second, not counted"


async def _changed(container: Container) -> str:
    token, rows = await _fresh(container)
    other, _ = await _fresh(container)
    truths = await _truths(container, rows)
    forged = altered(token, other)

    async def post() -> str:
        codes = []
        for name, text in forged.items():
            response = await _post(container, text, truths)
            try:
                refusal(response)
            except Failed as failed:
                raise Failed(f"{name}: {failed.seen}", failed.do) from failed
            codes.append(str(response.status_code))
        return ", ".join(dict.fromkeys(codes))

    return f"{await _counts_nothing(container, post)} for {', '.join(forged)}"


def altered(token: str, other: str) -> dict[str, str]:
    """Return what looks like the token but was not given: by what was changed."""
    middle, late = len(token) // 2, len(token) - 8
    return {
        "a changed body": _with_another_letter(token, middle),
        "a changed signature": _with_another_letter(token, late),
        "another's signature": token[:-21] + other[-21:],
        "no token": "conform",
    }


def _with_another_letter(token: str, place: int) -> str:
    letter = _LETTERS[(_LETTERS.find(token[place]) + 7) % len(_LETTERS)]
    return token[:place] + letter + token[place + 1 :]


async def _row_count(container: Container) -> str:
    token, rows = await _fresh(container)
    truths = await _truths(container, rows + 1)

    async def post() -> str:
        for wrong in (truths, truths[: rows - 1]):
            refusal(await _post(container, token, wrong))
        return f"{rows + 1} and {rows - 1} truths for {rows} rows are refused"

    return await _counts_nothing(container, post, then=(token, rows))


async def _many_rows(container: Container) -> str:
    _need_tokens(container)
    body = container.request(MANY_ROWS)
    response = await container.infer(body)
    if 400 <= response.status_code < 500:
        raise Skipped(f"{rows_of(body)} rows in a request are refused")
    token, rows = _token_in(response, rows_of(body))
    await _counts(container, token, await _truths(container, rows))
    return f"the token covers {rows} of {rows_of(body)} rows"


async def _apart(container: Container) -> str:
    token, rows = await _fresh(container)
    truths = await _truths(container, rows)

    async def post() -> str:
        content = [{"token": token, "actual": truths}]
        response = await container.front.post("/outcomes", json=content, headers=_bearer(container))
        if not 400 <= response.status_code < 500:
            raise Failed(
                f"/outcomes on the inference port: {shown(response)}"[:120],
                "serve it on the second port alone: whoever posts truths can cause a rollback",
            )
        return f"{response.status_code} for /outcomes on the inference port"

    return await _counts_nothing(container, post)


async def _bearer_wanted(container: Container) -> str:
    if container.asked.bearer is None:
        raise Skipped("give --bearer-file where the container has one")
    token, rows = await _fresh(container)
    truths = await _truths(container, rows)

    async def post() -> str:
        for headers in ({}, {"authorization": "Bearer conform"}):
            response = await container.back.post(
                "/outcomes", json=[{"token": token, "actual": truths}], headers=headers
            )
            if response.status_code not in (401, 403):
                raise Failed(shown(response), "answer 401 without the right bearer")
        return "401 without it and with another"

    return await _counts_nothing(container, post)


async def _by_hour(container: Container) -> str:
    page = await known_page(container)
    classes = page.values(metrics.PREDICTED, "class")
    is_regression = classes == [""]
    name = metrics.OUTCOME_ERRORS_BY_HOUR_COUNT if is_regression else metrics.OUTCOMES_BY_HOUR
    token, rows = await _fresh(container)
    truths = await _truths(container, rows)

    async def post() -> None:
        _accepted(await _post(container, token, truths))

    await grows_by(container, post, name, rows, "count truths by the hour of their prediction")
    return f"{rows} rows in {name}"


async def _refusals(container: Container) -> str:
    token, rows = await _fresh(container)
    truths, name = await _truths(container, rows), metrics.TOKENS_REFUSED

    async def post() -> None:
        await _post(container, _with_another_letter(token, len(token) // 2), truths)

    await grows_by(container, post, name, 1, "count what is refused, by reason")
    return f"1 in {name}"


# --- posting and counting -----------------------------------------------------------------------


async def token_of(container: Container, body: Body) -> tuple[str, int]:
    """Return the token of an answer and the rows it covers; raise Failed where there is none."""
    return _token_in(await container.infer(body), rows_of(body))


def _token_in(response: httpx.Response, rows: int) -> tuple[str, int]:
    if response.status_code != 200:
        raise Failed(shown(response), "answer a good request with 200")
    content = json_of(response)
    given = content.get("parameters") if isinstance(content, dict) else None
    parameters = given if isinstance(given, dict) else {}
    token = parameters.get(TOKEN)
    # A token is at least two digests and a signature long.
    if not isinstance(token, str) or len(token) < 64:
        seen = f"parameters.{TOKEN} is {'missing' if token is None else repr(token)[:60]}"
        raise Failed(seen, "give each answer a token (is the token's key set?)")
    covered = parameters.get(TOKEN_ROWS, rows)
    if not isinstance(covered, int) or isinstance(covered, bool) or not 0 < covered <= rows:
        raise Failed(f"parameters.{TOKEN_ROWS} is {str(covered)[:40]!r}", "give whole rows")
    return token, covered


async def _fresh(container: Container) -> tuple[str, int]:
    _need_tokens(container)
    return await token_of(container, container.request())


def _need_tokens(container: Container) -> None:
    if not container.has_page:
        raise Skipped("needs `metrics page` to pass")
    if "has tokens" not in container.facts:
        raise Skipped("needs `token in every answer` to pass")


async def _truths(container: Container, rows: int) -> list[Any]:
    """Return a truth for each row: a number for a regression, else the name of a class."""
    page = await known_page(container, metrics.PREDICTED)
    classes = page.values(metrics.PREDICTED, "class")
    return [classes[0]] * rows if classes and classes[0] else [0.0] * rows


def _name(truths: Sequence[Any]) -> str:
    is_named = isinstance(truths[0], str)
    return metrics.OUTCOMES if is_named else metrics.OUTCOME_ERRORS_COUNT


async def _counts(container: Container, token: str, truths: Sequence[Any], **identity: str) -> None:
    """Post a good token; raise Failed unless it is taken and its rows are counted once."""

    async def post() -> None:
        _accepted(await _post(container, token, truths))

    labels = identity | ({"actual": truths[0]} if isinstance(truths[0], str) else {})
    await grows_by(container, post, _name(truths), len(truths), _ONCE, **labels)


async def _post(container: Container, token: str, truths: Sequence[Any]) -> httpx.Response:
    content = [{"token": token, "actual": list(truths)}]
    response = await container.back.post("/outcomes", json=content, headers=_bearer(container))
    if response.status_code in (401, 403):
        raise Failed(shown(response), "give the bearer of the container by --bearer-file")
    return response


def _bearer(container: Container) -> dict[str, str]:
    bearer = container.asked.bearer
    return {} if bearer is None else {"authorization": f"Bearer {bearer}"}


def _accepted(response: httpx.Response) -> None:
    if response.status_code != 200:
        raise Failed(shown(response), "answer POST /outcomes [{token, actual}] with 200")


async def _counts_nothing(
    container: Container,
    act: Callable[[], Awaitable[str]],
    then: tuple[str, int] | None = None,
) -> str:
    """Do what must not count, then post a good token; raise Failed unless that alone is counted."""
    token, rows = then or await _fresh(container)
    truths = await _truths(container, rows)
    seen = ""

    async def both() -> None:
        nonlocal seen
        seen = await act()
        _accepted(await _post(container, token, truths))

    await grows_by(container, both, _name(truths), rows, _ONCE)
    return seen


CHECKS: Final[tuple[Check[Container], ...]] = (
    required("token in every answer", _given),
    required("outcome counted", _counted),
    required("token not counted twice", _not_twice),
    required("changed token refused", _changed),
    required("one truth a row", _row_count),
    required("token of many rows", _many_rows),
    required("outcomes apart", _apart),
    required("bearer", _bearer_wanted),
    optional("outcomes by hour", _by_hour),
    optional("refusals counted", _refusals),
)
