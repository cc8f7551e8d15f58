"""Artifacts that are taken apart, spoiled and put together again with fitting hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import skops.io
from pydantic import ValidationError
from tests.unit.serving.stored import Stored

from trimtab.contract.artifact import BASELINE, MANIFEST, SIGNATURE, Baseline, baseline_digest

MODEL = "model.skops"


class Draft:
    """A copy of an artifact in a folder of its own, open to changes."""

    def __init__(self, stored: Stored, folder: Path) -> None:
        shutil.copytree(stored.folder, folder)
        self.folder = folder
        self.stored = stored
        self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        self.after: list[Callable[[], object]] = []
        self.digest = ""
        self.environment: dict[str, str] = {}

    def write(self, name: str, content: bytes) -> None:
        """Replace a file; the manifest will fit."""
        (self.folder / name).write_bytes(content)

    def damage(self, change: Callable[[], object]) -> None:
        """Do something when the manifest is written, so that it does not fit."""
        self.after.append(change)

    def listed(self, name: str) -> dict[str, Any]:
        """Return the entry of a file in the manifest."""
        found: dict[str, Any] = next(f for f in self.manifest["files"] if f["path"] == name)
        return found

    def seal(self) -> str:
        """Write the manifest; return the digest that a version would declare."""
        for file in self.manifest["files"]:
            path = self.folder / file["path"]
            if "sha256" not in file and path.is_file():
                content = path.read_bytes()
                file |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        body = json.dumps(self.manifest).encode()
        (self.folder / MANIFEST).write_bytes(body)
        for change in self.after:
            change()
        return self.digest or "sha256:" + hashlib.sha256(body).hexdigest()


Edit = Callable[[Draft], object]


def rewrite(name: str, content: bytes) -> Edit:
    """Put `content` in place of a file, with its hash."""

    def edit(draft: Draft) -> None:
        draft.write(name, content)
        entry = draft.listed(name)
        entry.pop("sha256", None)

    return edit


def signature(**changes: Any) -> Edit:
    """Change fields of the signature, as they stand in JSON."""

    def edit(draft: Draft) -> None:
        content = json.loads((draft.folder / SIGNATURE).read_bytes()) | changes
        rewrite(SIGNATURE, json.dumps(content).encode())(draft)

    return edit


def baseline(change: Callable[[dict[str, Any]], object]) -> Edit:
    """Change the baseline in place; its digest fits again where it can be read at all."""

    def edit(draft: Draft) -> None:
        content = json.loads((draft.folder / BASELINE).read_bytes())
        change(content)
        with suppress(ValidationError):
            content["digest"] = baseline_digest(Baseline.model_validate(content))
        rewrite(BASELINE, json.dumps(content).encode())(draft)

    return edit


def other_baseline(draft: Draft, other: Stored) -> None:
    """Put in the whole baseline of another model, which is sound by itself."""
    rewrite(BASELINE, other.baseline.model_dump_json(by_alias=True).encode())(draft)


def model(estimator: Any) -> Edit:
    """Put another object in place of the model."""
    return rewrite(MODEL, skops.io.dumps(estimator))


def manifest(**changes: Any) -> Edit:
    """Change fields of the manifest."""
    return lambda draft: draft.manifest.update(changes)


def also(path: str) -> Edit:
    """List a further file."""
    entry = {"path": path, "sha256": "0" * 64, "size": 1}
    return lambda draft: draft.manifest["files"].append(entry)


def unlisted(path: str) -> Edit:
    """Leave a file out of the manifest."""
    return lambda draft: draft.manifest["files"].remove(draft.listed(path))


def damaged(name: str, how: Callable[[bytes], bytes]) -> Edit:
    """Change a file after the manifest was written."""

    def edit(draft: Draft) -> None:
        path = draft.folder / name
        draft.damage(lambda: path.write_bytes(how(path.read_bytes())))

    return edit


def gone(name: str) -> Edit:
    """Delete a file after the manifest was written."""
    return lambda draft: draft.damage((draft.folder / name).unlink)


def told(**environment: str) -> Edit:
    """Leave the artifact as it is and tell the container something else."""
    return lambda draft: draft.environment.update(
        {f"TRIMTAB_{name}": value for name, value in environment.items()}
    )
