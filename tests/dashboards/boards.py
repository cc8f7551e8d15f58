"""The dashboards as JSON, and what they ask Prometheus, read without any help of Grafana's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dashboards.server import SCRAPE_SECONDS

Json = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_REFERENCE = re.compile(r"\$\{([a-zA-Z_]\w*)[^}]*\}|\$([a-zA-Z_]\w*)")  # $1 is Prometheus' own
ALL = "$__all"


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    file: Path
    json: Json

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def panels(self) -> list[Json]:
        """All panels, those of rows too, without the rows."""
        found = [one for panel in self.json["panels"] for one in (panel, *panel.get("panels", []))]
        return [one for one in found if one["type"] != "row"]

    @property
    def queries(self) -> list[str]:
        """Expressions of panels, marks and variables, with their variables in place."""
        listed = self.json.get("templating", {}).get("list", [])
        asked = [target["expr"] for panel in self.panels for target in panel.get("targets", [])]
        asked += [one.get("expr", "") for one in self.json.get("annotations", {}).get("list", [])]
        return asked + [str(one.get("query", "")) for one in listed]

    def chosen(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return what to choose of the variables that take one value only."""
        listed = self.json.get("templating", {}).get("list", [])
        of_one = {one["name"] for one in listed if not _takes_all(one)}
        return {name: value for name, value in wanted.items() if name in of_one}

    def values(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Return what stands in the queries for each variable."""
        listed = self.json.get("templating", {}).get("list", [])
        of_all = {one["name"]: one.get("allValue") or ".*" for one in listed if _takes_all(one)}
        return {**of_all, **chosen}


def _takes_all(variable: Json) -> bool:
    current = (variable.get("current") or {}).get("value")
    return bool(variable.get("includeAll")) and current in (ALL, [ALL])


def read_boards(folder: Path) -> list[Board]:
    """Return all dashboards of a folder by name."""
    return [Board(file, json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


def names_in(queries: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return those metrics of the known ones that the queries name."""
    words = {word for query in queries for word in _NAME.findall(query)}
    return sorted(words & set(known))


def filled(expr: str, values: Mapping[str, str], step: float, begin: int, end: int) -> str:
    """Return a query as Grafana asks it. KeyError: a variable that nobody declared."""
    own = {
        "__interval": f"{step:g}s",
        "__rate_interval": f"{max(step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS):g}s",
        "__range": f"{end - begin}s",
        "__range_s": f"{end - begin}",
        "__from": f"{begin * 1000}",
        "__to": f"{end * 1000}",
    }
    return _REFERENCE.sub(lambda found: ({**values, **own})[found[1] or found[2]], expr)
