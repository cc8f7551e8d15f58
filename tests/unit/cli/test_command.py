"""Commands are written for the candidate that was seen, and their answer is told."""

from __future__ import annotations

import re

import pytest
from tests.unit.cli.fakes import ANN, Desk
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.deployment import Deployment
from trimtab.cli.command import NotCarriedOut, answer_to, command
from trimtab.cli.seen import Seen
from trimtab.errors import Refused, SpecError


async def desk_in_rollout() -> Desk:
    shop = Shop()
    await shop.serve("v1", rollout={"steps": [{"weight": "25%", "for": "5m"}], "deadline": "10m"})
    shop.publish("v2")
    shop.want("v2")
    await shop.harness.run_until(lambda: shop.status.summary.step.startswith("1/"), 60)
    return Desk(shop)


async def test_the_command_names_the_candidate_and_who_wrote_it_in_one_write() -> None:
    desk = await desk_in_rollout()
    assert desk.shop.status.candidate is not None
    revision = desk.shop.status.candidate.revision
    assert await command(desk.session, KEY, "pause", None, 10) == 0
    (patch,) = desk.api.patches
    assert re.fullmatch(f"pause/{revision}/[0-9a-f]{{8}}", patch["trimtab.dev/command"])
    assert patch["trimtab.dev/command-by"] == ANN
    assert desk.said[0] == f"carried out: pause by {ANN}"
    assert "paused" in desk.said[1]


@pytest.mark.parametrize(
    ("verb", "serves"), [("promote", "v2"), ("abort", "v1"), ("rollback", "v1")]
)
async def test_a_verb_takes_effect(verb: str, serves: str) -> None:
    desk = await desk_in_rollout()
    assert await command(desk.session, KEY, verb, None, 10) == 0
    await desk.shop.harness.run_until(lambda: desk.shop.is_resting, 120)
    assert desk.shop.serving == serves


async def test_resume_ends_a_pause() -> None:
    desk = await desk_in_rollout()
    await command(desk.session, KEY, "pause", None, 10)
    assert await command(desk.session, KEY, "resume", None, 10) == 0
    assert desk.shop.status.rollout is not None
    assert desk.shop.status.rollout.paused_since is None


async def test_a_refusal_of_the_operator_is_told_and_is_no_success() -> None:
    desk = await desk_in_rollout()
    assert await command(desk.session, KEY, "resume", None, 10) == 1
    assert desk.said[0] == f"refused: resume by {ANN}: the rollout is not paused"


async def test_retry_lifts_a_quarantine() -> None:
    desk = await desk_in_rollout()
    await command(desk.session, KEY, "abort", None, 10)
    assert [r.version for r in desk.shop.status.rejected] == ["v2"]
    assert await command(desk.session, KEY, "retry", "v2", 10) == 0
    assert desk.shop.status.rejected == []


async def test_rollback_to_an_unknown_version_is_refused_by_name() -> None:
    shop = Shop()
    await shop.serve("v1")
    desk = Desk(shop)
    assert await command(desk.session, KEY, "rollback", "v9", 10) == 1
    assert "no ModelVersion of the line digits has version v9" in desk.text


@pytest.mark.parametrize("verb", ["promote", "abort", "pause", "resume"])
async def test_without_a_rollout_nothing_is_written(verb: str) -> None:
    shop = Shop()
    await shop.serve("v1")
    desk = Desk(shop)
    with pytest.raises(SpecError, match="no rollout of digits is under way"):
        await command(desk.session, KEY, verb, None, 10)
    assert desk.api.patches == []


async def test_an_argument_with_a_slash_is_not_written() -> None:
    desk = await desk_in_rollout()
    with pytest.raises(SpecError, match="no slash"):
        await command(desk.session, KEY, "rollback", "v1/x", 10)
    assert desk.api.patches == []


async def test_without_an_operator_it_says_so_after_the_wait() -> None:
    desk = await desk_in_rollout()
    desk.is_operator_alive = False
    with pytest.raises(NotCarriedOut, match="is the operator running"):
        await command(desk.session, KEY, "pause", None, 10)


async def test_no_wait_only_writes() -> None:
    desk = await desk_in_rollout()
    desk.is_operator_alive = False
    assert await command(desk.session, KEY, "pause", None, 0) == 0
    assert len(desk.api.patches) == 1
    assert "is written" in desk.text


async def test_a_command_whose_answer_is_no_longer_kept_still_shows_the_new_state() -> None:
    desk = await desk_in_rollout()
    assert await command(desk.session, KEY, "pause", None, 10) == 0
    forgotten = desk.shop.status.record.model_copy(update={"decisions": []})
    live = deployment_of(desk).model_copy(
        update={"status": desk.shop.status.model_copy(update={"record": forgotten})}
    )
    (command_id,) = desk.shop.status.commands
    assert answer_to(command_id, "pause", Seen(live.to_json())).message == "pause was taken up"


def deployment_of(desk: Desk) -> Deployment:
    return Deployment.model_validate(desk.shop.live)


async def test_forbidden_is_told_in_the_words_of_the_server() -> None:
    desk = await desk_in_rollout()
    desk.api.forbidden = "command-by must be the user who writes it"
    with pytest.raises(Refused, match="command-by"):
        await command(desk.session, KEY, "pause", None, 10)
