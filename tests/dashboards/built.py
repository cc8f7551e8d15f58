"""The page that draws, built once into the cache folder: npm's packages by their lock file.

Where npm, its registry or Chromium are not to be had, NotToBeHad says which.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.packages import install_packages
from tests.cluster.settings import ClusterError, Settings
from tests.cluster.shell import run, say

PAGE = Path(__file__).parent / "page"
_LOCKED = ("package.json", "package-lock.json", ".npmrc")
_SOURCES = ("index.html", "vite.config.ts", "tsconfig.json", "driver.mjs", "src")
PACKAGES = {
    "chromium": "/usr/bin/chromium",
    "prometheus": "/usr/bin/prometheus",
}


class NotToBeHad(Exception):
    """What is missing, and how to get it."""


@dataclass(frozen=True)
class Built:
    """Where the built page, the program that opens it, and npm's packages are."""

    bundle: Path
    driver: Path
    modules: Path


def find(settings: Settings) -> Built | None:
    """Return the built page, or None where it has not been built from these sources."""
    built = _places(settings)
    has_packages = all(Path(file).exists() for file in PACKAGES.values())
    return built if has_packages and built.bundle.exists() and shutil.which("node") else None


def build(settings: Settings) -> Built:
    """Return the built page; the first time takes two minutes. NotToBeHad: it cannot be built."""
    try:
        install_packages(PACKAGES)
        if shutil.which("npm") is None:
            raise NotToBeHad("npm is missing: install Node.js 20 or newer with npm")
        built = _places(settings)
        if not built.modules.exists():
            _install(built.modules)
        if not built.bundle.exists():
            _bundle(built)
        return built
    except ClusterError as error:
        raise NotToBeHad(str(error)) from error


def _places(settings: Settings) -> Built:
    folder = settings.cache / "dashboards"
    page = folder / f"page-{_hash([*_LOCKED, *_SOURCES])}"
    modules = folder / f"npm-{_hash(list(_LOCKED))}" / "node_modules"
    return Built(page / "dist", page / "driver.mjs", modules)


def _hash(names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        root = PAGE / name
        for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if file.is_file():
                digest.update(f"{file.relative_to(PAGE)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _install(modules: Path) -> None:
    say("installing what draws the dashboards (once, a minute)")
    folder = modules.parent
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name in _LOCKED:
        shutil.copy(PAGE / name, new / name)
    run(["npm", "ci", "--no-progress", "--loglevel=error"], cwd=new)
    new.rename(folder)


def _bundle(built: Built) -> None:
    say("building the page that draws the dashboards (once, 20 seconds)")
    folder = built.bundle.parent
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name in (*_LOCKED, *_SOURCES):
        copy = shutil.copytree if (PAGE / name).is_dir() else shutil.copy
        copy(PAGE / name, new / name)
    (new / "node_modules").symlink_to(built.modules)
    run(["npm", "run", "--silent", "check"], cwd=new)
    run(["npm", "run", "--silent", "build"], cwd=new)
    new.rename(folder)
