"""The command line as one file, and its krew manifest: `python -m trimtab.generate.single_file`.

The file is a zip archive with a first line that names the interpreter. Nothing in it is compressed
or dated, so that the same source gives the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

import trimtab
from trimtab import __version__

PACKAGE = Path(trimtab.__file__).parent
COMMANDS: Final = "trimtab.cli"
LEFT_OUT: Final = ("trimtab.cli.offline",)
DATA: Final = ("cli/facts.json",)
INTERPRETER: Final = b"#!/usr/bin/env python3\n"
HOMEPAGE: Final = "https://trimtab.dev/docs"
RELEASES: Final = "https://trimtab.dev/releases"
PLATFORMS: Final = ("linux", "darwin")
PLUGIN: Final = "kubectl-trimtab"
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)
# Read by every Python 3, also by one that is too old for the rest.
_MAIN: Final = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("error: trimtab needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])

from trimtab.cli.main import main

sys.exit(main())
"""


def program() -> bytes:
    """Return the file."""
    return _zip({"__main__.py": (_MAIN.encode(), False), **dict(_sources())}, INTERPRETER)


def modules() -> list[str]:
    """Return what is in the file: the commands, and what they import of the rest, with packages."""
    wanted = [name for name in _all_modules() if _is_in(name, COMMANDS)]
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in found or any(_is_in(name, left) for left in LEFT_OUT):
            continue
        found.add(name)
        wanted += [*_imported_by(name), *_packages_above(name)]
    return sorted(found)


def archive(content: bytes, license_text: bytes) -> bytes:
    """Return the zip archive that krew fetches."""
    return _zip({PLUGIN: (content, True), "LICENSE": (license_text, False)})


def manifest(version: str, sha256: str) -> dict[str, Any]:
    """Return the krew manifest of a release; sha256: of its archive."""
    short = "Watch and steer rollouts of models by Trimtab"
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "trimtab"},
        "spec": {
            "version": f"v{version}",
            "homepage": HOMEPAGE,
            "shortDescription": short,
            "description": (
                "Shows what serves, what is being tried and why it was decided so, and\n"
                "promotes, pauses or rolls back models that the Trimtab operator keeps good.\n"
            ),
            "caveats": "Needs python3 (3.11 or newer) on the PATH.\n",
            "platforms": [
                {
                    "selector": {
                        "matchExpressions": [
                            {"key": "os", "operator": "In", "values": list(PLATFORMS)}
                        ]
                    },
                    "uri": f"{RELEASES}/v{version}/trimtab-{version}.zip",
                    "sha256": sha256,
                    "files": [{"from": PLUGIN, "to": "."}, {"from": "LICENSE", "to": "."}],
                    "bin": PLUGIN,
                }
            ],
        },
    }


def write(folder: Path, license_text: bytes) -> None:
    """Write the file, its archive and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    content = program()
    file = folder / "trimtab"
    file.write_bytes(content)
    file.chmod(0o755)
    packed = archive(content, license_text)
    (folder / f"trimtab-{__version__}.zip").write_bytes(packed)
    document = manifest(__version__, hashlib.sha256(packed).hexdigest())
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (folder / "trimtab.yaml").write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write into a folder."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.generate.single_file")
    parser.add_argument("folder", type=Path, help="where to write to")
    options = parser.parse_args(arguments)
    write(options.folder, (PACKAGE.parents[1] / "LICENSE").read_bytes())
    return 0


# --- what is in it ------------------------------------------------------------------------------


def _sources() -> Iterator[tuple[str, tuple[bytes, bool]]]:
    for path in [*map(_path_of, modules()), *(PACKAGE / name for name in DATA)]:
        yield path.relative_to(PACKAGE.parent).as_posix(), (path.read_bytes(), False)


def _all_modules() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _path_of(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported_by(module: str) -> Iterator[str]:
    """Yield our modules that the source of a module names, wherever in it."""
    known = set(_all_modules())
    for node in ast.walk(ast.parse(_path_of(module).read_bytes())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name in known)


def _packages_above(module: str) -> Iterator[str]:
    parts = module.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _zip(files: Mapping[str, tuple[bytes, bool]], before: bytes = b"") -> bytes:
    """Return an archive; whether a file may be run stands beside its content."""
    buffer = io.BytesIO()
    buffer.write(before)  # the offsets in the archive count from the begin of the file
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for name in sorted(files):
            content, is_program = files[name]
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.create_system = 3  # Unix, on every machine
            info.external_attr = (0o100755 if is_program else 0o100644) << 16
            packed.writestr(info, content)
    return buffer.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
