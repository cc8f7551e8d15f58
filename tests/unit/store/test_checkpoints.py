"""Checkpoints are objects that replace each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.store.checkpoints import CheckpointObjects
from trimtab.store.port import StoreAway


async def test_the_last_one_is_read_back(tmp_path: Path) -> None:
    store = CheckpointObjects(tmp_path.as_uri() + "/kept", None)
    assert await store.load("uid-1") is None
    await store.save("uid-1", lambda: b"first")
    await store.save("uid-1", lambda: b"second")
    assert await store.load("uid-1") == b"second"
    assert await store.load("uid-2") is None


async def test_a_store_that_refuses_is_away(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where a folder is wanted")
    store = CheckpointObjects(tmp_path.as_uri() + "/kept", None)
    with pytest.raises(StoreAway, match="kept"):
        await store.save("uid-1", lambda: b"x")


async def test_a_uri_of_another_scheme_is_named() -> None:
    store = CheckpointObjects("ftp://somewhere", None)
    with pytest.raises(StoreAway, match="scheme must be one of"):
        await store.load("uid-1")
