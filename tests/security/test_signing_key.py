"""The release's key is made once, kept, and shown to nobody."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.reconcile.machine.engines import SETTINGS

from trimtab.cluster.port import SECRETS, Key
from trimtab.handlers import operator, signing_key
from trimtab.handlers.signing_key import make_key
from trimtab.simulation.cluster import SimulatedCluster
from trimtab.store.sealed import SealedCheckpoints, derive_key, read_seed

SECRET = Key(SECRETS, "trimtab-system", "trimtab-signing-key")


async def test_it_is_made_once_and_never_changed() -> None:
    cluster = SimulatedCluster()
    assert await make_key(cluster, SECRET.namespace, SECRET.name)
    first = cluster.get(SECRET)
    assert first is not None
    assert len(base64.b64decode(first["data"]["seed"])) == 32
    assert first["immutable"] is True
    assert not await make_key(cluster, SECRET.namespace, SECRET.name)
    assert cluster.get(SECRET) == first


async def test_two_releases_have_two_keys() -> None:
    seeds = []
    for _ in range(2):
        cluster = SimulatedCluster()
        await make_key(cluster, SECRET.namespace, SECRET.name)
        found = cluster.get(SECRET)
        assert found is not None
        seeds.append(found["data"]["seed"])
    assert seeds[0] != seeds[1]


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {derive_key(b"s" * 32, purpose) for purpose in (b"a", b"b")}
    assert len(keys) == 2
    assert b"s" * 32 not in keys


def test_keys_are_derived_as_rfc_5869_says() -> None:
    """Its third test case: no salt, no info."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derive_key(b"\x0b" * 22, b"").hex() == expected


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33, b"x" * 10_000])
def test_what_is_no_seed_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(content)
    with pytest.raises(ValueError, match="must hold 32 bytes") as refused:
        read_seed(tmp_path / "seed")
    assert "xx" not in str(refused.value)


@pytest.mark.parametrize("file", [None, "absent", "broken"])
def test_without_a_key_there_are_no_checkpoints_and_it_is_said(
    file: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken").write_bytes(b"k" * 31)
    settings = replace(
        SETTINGS,
        checkpoint_uri=f"{tmp_path.as_uri()}/kept",
        signing_key_file=None if file is None else str(tmp_path / file),
    )
    with caplog.at_level(logging.WARNING):
        assert operator._checkpoint_store(settings) is None
    assert "begins windows and evidence anew" in caplog.text
    assert "kkk" not in caplog.text


def test_with_a_key_they_are_sealed(tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(b"s" * 32)
    settings = replace(
        SETTINGS, checkpoint_uri="file:///kept", signing_key_file=str(tmp_path / "seed")
    )
    store = operator._checkpoint_store(settings)
    assert isinstance(store, SealedCheckpoints)
    assert "sss" not in repr(vars(store))


def test_a_job_that_is_told_nothing_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert signing_key.main({}) == 2
    assert "TRIMTAB_SIGNING_KEY_SECRET" in capsys.readouterr().err
