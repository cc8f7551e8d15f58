"""Links to the dashboards of a Grafana, and `trimtab dashboard`, which opens one."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from trimtab.api.resource import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    RETRAIN_JOBS,
    Key,
    Resource,
)
from trimtab.cli.api import Scope
from trimtab.cli.seen import Seen, printable
from trimtab.cli.session import Session
from trimtab.errors import SpecError, TrimtabError

VARIABLE: Final = "TRIMTAB_GRAFANA_URL"


@dataclass(frozen=True)
class Board:
    """A dashboard: how much time it shows first, and whether it is about one Deployment."""

    since: str
    has_deployment: bool = True

    def uid(self, name: str) -> str:
        """Return what Grafana knows it by."""
        return f"trimtab-{name}"


BOARDS: Final[Mapping[str, Board]] = {
    "fleet": Board("now-24h", has_deployment=False),
    "rollout": Board("now-1h"),
    "quality": Board("now-7d"),
    "retraining": Board("now-7d"),
    "serving": Board("now-1h"),
    "operator": Board("now-1h", has_deployment=False),
}
_USUAL: Final[Mapping[Resource, str]] = {
    DEPLOYMENTS: "rollout",
    DRIFT_POLICIES: "quality",
    RETRAIN_JOBS: "retraining",
    MODEL_VERSIONS: "retraining",
}


async def dashboard(
    session: Session, key: Key | None, board: str | None, *, is_opened: bool
) -> int:
    """Print the link to what is asked for, and open it in a browser."""
    base = grafana()
    name = board or ("fleet" if key is None else _USUAL[key.resource])
    deployment = ""
    if key is not None and BOARDS[name].has_deployment:
        deployment = await _deployment_of(session, key)
    link = link_to(base, name, session.namespace, deployment)
    session.say(link)
    if is_opened and not webbrowser.open(link):
        raise TrimtabError("no browser could be opened; the link is above")
    return 0


def has_display() -> bool:
    """Whether a person sits before it who sees a browser open."""
    if not sys.stdout.isatty():
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def grafana() -> str:
    """Return the URL of Grafana; SpecError if the variable has none."""
    url = os.environ.get(VARIABLE, "").strip()
    if not url:
        raise SpecError(f"{VARIABLE} is not set; it is the URL of Grafana, https://HOST/PATH")
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and (parts.port is None or parts.port > 0)
    except ValueError:
        is_usable = False
    if not is_usable or parts.username is not None or parts.fragment or not _is_plain(url):
        raise SpecError(f"{VARIABLE}: {printable(url, 100)!r} is not http(s)://HOST/PATH")
    return url


def known_grafana() -> str | None:
    """Return the URL of Grafana where there is a usable one."""
    try:
        return grafana()
    except SpecError:
        return None


def link_to(base: str, board: str, namespace: str, deployment: str = "") -> str:
    """Return the link; base: as `grafana` gives it, its path and its parameters are kept."""
    parts = urlsplit(base)
    shown = BOARDS[board]
    query = parse_qsl(parts.query, keep_blank_values=True)
    if board != "operator":
        query.append(("var-namespace", namespace))
    if deployment and shown.has_deployment:
        query.append(("var-deployment", deployment))
    query += [("from", shown.since), ("to", "now")]
    path = quote(parts.path.rstrip("/"), safe="/%")
    uid = quote(shown.uid(board), safe="")
    return f"{parts.scheme}://{parts.netloc}{path}/d/{uid}?{urlencode(query, quote_via=quote)}"


def _is_plain(url: str) -> bool:
    return url.isprintable() and not any(c.isspace() or c in '<>"`\\' for c in url)


async def _deployment_of(session: Session, key: Key) -> str:
    """Return the Deployment that an object is about; empty if it is about several or none."""
    if key.resource == DEPLOYMENTS:
        return key.name
    found = Seen(await session.api.get(key))
    if key.resource == RETRAIN_JOBS:
        return found.text("spec", "cause", "deployment")
    if key.resource == DRIFT_POLICIES:
        names = found.texts("spec", "selector", "deployments")
        return names[0] if len(names) == 1 else ""
    model = found.text("spec", "model")
    listing = await session.api.list(DEPLOYMENTS, Scope(key.namespace))
    using = [one for one in map(Seen, listing.items) if one.text("spec", "model") == model]
    return using[0].name if len(using) == 1 else ""
