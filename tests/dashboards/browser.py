"""Pages of dashboards in a real Chromium: what each showed, and a picture of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.cluster.settings import REPOSITORY
from tests.dashboards.built import PACKAGES, Built
from tests.dashboards.server import SCRAPE_SECONDS, Server
from tests.patience import stretched

Json = dict[str, Any]

DASHBOARDS = REPOSITORY / "charts/trimtab/files/dashboards"
_PAGE_SECONDS = 60.0
_FONTS = {"Regular": "latin-400-normal", "Medium": "latin-500-normal"}
_FONTS |= {"Italic": "latin-400-italic", "MediumItalic": "latin-500-italic"}


@dataclass(frozen=True)
class Wanted:
    """A dashboard as somebody looks at it. begin, end: Unix seconds. width: pixels."""

    dashboard: Path
    server: Server
    begin: int
    end: int
    theme: str
    width: int
    variables: Mapping[str, str]
    picture: Path | None = None


@dataclass(frozen=True)
class Seen:
    """What the page reported (`page/src/report.ts`), and what went wrong beside."""

    wanted: Wanted
    report: Json | None
    errors: list[str]


def look(built: Built, wanted: Sequence[Wanted]) -> list[Seen]:
    """Open one page after the other. RuntimeError: the browser does not run at all."""
    with _files(built, {one.dashboard for one in wanted}) as origin:
        pages = [
            {
                "url": f"{origin}/index.html?{urllib.parse.urlencode(_asked(one))}",
                "width": one.width,
                "height": _height(one.dashboard),
                "picture": None if one.picture is None else str(one.picture),
            }
            for one in wanted
        ]
        answers = _drive(built, pages)
    return [
        Seen(
            one,
            answer["report"],
            answer["errors"] + [f"asked outside: {url}" for url in answer["outside"]],
        )
        for one, answer in zip(wanted, answers, strict=True)
    ]


def _height(dashboard: Path) -> int:
    """Return in pixels how high a dashboard is, with its title."""
    panels = json.loads(dashboard.read_text())["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    return int(rows * 38 + 86)


def _asked(one: Wanted) -> dict[str, str]:
    return {
        "dashboard": f"/dashboards/{one.dashboard.name}",
        "prometheus": one.server.url,
        "from": str(one.begin * 1000),
        "to": str(one.end * 1000),
        "theme": one.theme,
        "scrape": str(SCRAPE_SECONDS),
        **{f"var-{name}": value for name, value in one.variables.items()},
    }


def _drive(built: Built, pages: list[Json]) -> list[Json]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as plan:
        seconds = stretched(_PAGE_SECONDS)
        json.dump({"chromium": PACKAGES["chromium"], "seconds": seconds, "pages": pages}, plan)
        plan.flush()
        command = ["node", str(built.driver), plan.name]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds * (len(pages) + 1),
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(pages):
        raise RuntimeError(f"the browser ended early: {done.stderr.strip()[-2000:]}")
    return answers


class _Handler(SimpleHTTPRequestHandler):
    """Files of the page, Grafana's icons and fonts where its components look for them."""

    def __init__(self, *arguments: Any, places: Mapping[str, Path], **more: Any) -> None:
        self._places = places
        super().__init__(*arguments, **more)

    def translate_path(self, path: str) -> str:
        """Return the file of a path; one that does not exist for all that is not served."""
        plain = urllib.parse.unquote(urllib.parse.urlsplit(path).path)
        known = self._places.get(plain)
        if known is not None:
            return str(known)
        for prefix, folder in self._places.items():
            if prefix.endswith("/") and plain.startswith(prefix):
                found = (folder / plain.removeprefix(prefix)).resolve()
                if found.is_relative_to(folder.resolve()):
                    return str(found)
        return str(Path("/nonexistent"))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _files(built: Built, dashboards: set[Path]) -> Iterator[str]:
    inter = built.modules / "@fontsource/inter/files"
    places = {
        **{f"/dashboards/{file.name}": file for file in dashboards},
        **{
            f"/public/fonts/inter/Inter-{name}.woff2": inter / f"inter-{file}.woff2"
            for name, file in _FONTS.items()
        },
        "/public/build/img/": built.modules / "@grafana/ui/dist/public/img",
        "/": built.bundle,
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, places=places))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
