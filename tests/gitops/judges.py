"""What other tools make of an object: kstatus and Flux by their own code, Argo CD by our script."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lupa import lua51
from tests.cluster.packages import VERDICTS, built_module
from tests.cluster.settings import read_settings

from trimtab.cluster.port import Json

ROOT = Path(__file__).resolve().parents[2]
HEALTH = ROOT / "manifests/gitops/argocd/health.lua"
KUSTOMIZATION = ROOT / "manifests/gitops/flux/kustomization.yaml"
OPEN_TO_SCRIPTS = (
    *("assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset"),
    *("select", "setmetatable", "getmetatable", "table", "tonumber", "tostring", "type", "unpack"),
)
"""What Argo CD gives a health script of the configuration, without its `os` and `package`: base and
`table`, no strings (util/lua/lua.go there)."""


@dataclass(frozen=True)
class Verdict:
    """What kstatus and Flux say: Current, InProgress, Failed, Terminating or Unknown."""

    kstatus: str
    """As the library of the Kubernetes project says, in Helm and kpt for example."""
    message: str
    flux: str
    """As Flux says with the expressions of our example."""
    flux_alone: str
    """As Flux says without any."""


def find_verdicts() -> str | None:
    """Return the program that asks kstatus and Flux; None before the cluster tool built it."""
    built = built_module(read_settings(), VERDICTS)
    return os.environ.get("VERDICTS") or (str(built) if built.exists() else None)


def expressions() -> dict[str, dict[str, str]]:
    """Return the expressions of our example for Flux, by kind."""
    checks = yaml.safe_load(KUSTOMIZATION.read_text())["spec"]["healthCheckExprs"]
    names = ("current", "failed", "inProgress")
    return {check["kind"]: {name: check[name] for name in names} for check in checks}


def ask(program: str, objects: Sequence[Json]) -> list[Verdict]:
    """Return what kstatus and Flux say of each object."""
    question = json.dumps({"expressions": expressions(), "objects": list(objects)})
    done = subprocess.run(
        [program], input=question, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [Verdict(**answer) for answer in json.loads(done.stdout)]


def health_of(obj: Json) -> tuple[str, str]:
    """Return status and message of an object by `health.lua`, run as Argo CD runs it."""
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    sandbox = lua.eval("function(source) return assert(loadstring(source, 'health.lua')) end")
    script = sandbox(HEALTH.read_text())
    scope = lua.table_from({name: lua.globals()[name] for name in OPEN_TO_SCRIPTS})
    scope["obj"] = _to_lua(lua, obj)
    lua.globals().setfenv(script, scope)
    health = script()
    return str(health["status"]), str(health["message"])


def _to_lua(lua: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lua.table_from({name: _to_lua(lua, one) for name, one in value.items()})
    if isinstance(value, Iterable) and not isinstance(value, str):
        return lua.table_from([_to_lua(lua, one) for one in value])
    return value
