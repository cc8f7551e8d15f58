"""`trimtab lint`: what is wrong with manifests, before they are applied and without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.fields import Kind
from trimtab.api.meta import API_VERSION, GROUP
from trimtab.cli.kubectl import Kubectl
from trimtab.cli.offline.baseline_arguments import add_baseline, add_credentials
from trimtab.cli.offline.lint_facts import (
    Beside,
    Stated,
    facts_of,
    facts_of_deployment,
    objects_of,
    selected,
)
from trimtab.cli.offline.manifest_check import MODELS, read_object
from trimtab.cluster.port import Json
from trimtab.errors import SpecError, TrimtabError
from trimtab.lint.policy import policy_remarks
from trimtab.lint.remarks import Remark, Severity
from trimtab.lint.rollout import deployment_remarks
from trimtab.lint.series import series_remarks
from trimtab.simulation.manifests import documents_in, documents_of, yaml_files

CLEAN, WARNED, BROKEN = 0, 1, 2
STDIN = Path("-")
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Told:
    """One remark, the object that it is about, and the files in which it stands so."""

    files: tuple[str, ...]
    object_name: str
    remark: Remark


LEAST_RATE, MOST_RATE = 1e-7, 1e12
"""Of requests a second: one in four months is the least that times can be told for."""


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="YAML file or folder; - reads the standard input",
    )
    one.add_argument(
        "--rows-per-window", type=_positive, metavar="N", help="predicted rows in one window"
    )
    one.add_argument(
        "--requests-per-second",
        type=_positive,
        metavar="R",
        help="requests that a Deployment gets; without --rows-per-window each counts as one row",
    )
    add_baseline(one)
    one.add_argument("--signature", type=Path, metavar="FILE", help="a signature.json")
    one.add_argument(
        "--artifacts", action="store_true", help="read the artifacts of the ModelVersions"
    )
    add_credentials(one)
    one.add_argument(
        "--cluster",
        action="store_true",
        help="take the objects of the namespace into account beside the files",
    )
    one.add_argument("-n", "--namespace", default=argparse.SUPPRESS, help="namespace of --cluster")
    one.add_argument("--context", default=argparse.SUPPRESS, help="context of --cluster")
    one.add_argument("--strict", action="store_true", help="exit with 1 if there are warnings")
    one.add_argument(
        "--output", choices=("text", "json"), default="text", help="form of the result"
    )
    one.set_defaults(run=run_lint)


async def run_lint(options: argparse.Namespace) -> int:
    """Print what there is to say; 0 clean, 1 warnings with --strict, 2 errors."""
    try:
        stated = Stated.read(
            options.baseline,
            options.signature,
            options.credentials,
            rows=options.rows_per_window,
            per_second=options.requests_per_second,
            reads_artifacts=options.artifacts,
        )
        around = await _of_cluster(options) if options.cluster else None
        found, objects = lint(options.paths, stated, around)
    except TrimtabError as error:
        print(f"error: {error}", file=sys.stderr)
        return BROKEN
    told = _folded(found)
    print(_as_json(told) if options.output == "json" else _as_text(told, objects))
    severities = {one.remark.severity for one in told}
    if "error" in severities:
        return BROKEN
    return WARNED if options.strict and "warning" in severities else CLEAN


async def _of_cluster(options: argparse.Namespace) -> list[Kind]:
    api = Kubectl(options.context)
    return await objects_of(api, options.namespace or await api.namespace())


# --- objects ------------------------------------------------------------------------------------


def lint(
    paths: Sequence[Path], stated: Stated, around: Sequence[Kind] | None = None
) -> tuple[list[Told], int]:
    """Return all remarks and the number of objects; SpecError where there is nothing to read.

    around: objects of a cluster that are looked at but not judged, unless the files have their own;
    None where no cluster was asked.
    """
    found: list[Told] = []
    objects: list[tuple[str, str, Kind]] = []
    count = 0
    for path, documents in _documents(paths):
        if isinstance(documents, Remark):
            found.append(Told((str(path),), "", documents))
            continue
        for document in documents:
            mistaken = _unknown_kind(document)
            if mistaken is not None:
                found.append(Told((str(path),), _name_of(document), mistaken))
            if document.get("apiVersion") != API_VERSION or document.get("kind") not in MODELS:
                continue
            count += 1
            name = _name_of(document)
            one, remarks = read_object(document)
            found += [Told((str(path),), name, remark) for remark in remarks]
            if one is not None and (str(path), name) in {known[:2] for known in objects}:
                message = "stands twice in this file: kubectl applies both, and the last one wins"
                found.append(Told((str(path),), name, Remark("error", "schema", "", message)))
            if one is not None:
                objects.append((str(path), name, one))
    if not count and not found:
        raise SpecError(f"no object of {API_VERSION} in the files")
    beside = Beside.of((one for _, _, one in objects), around)
    for file, name, one in objects:
        found += [Told((file,), name, remark) for remark in _remarks(one, beside, stated)]
    return found, count


def _unknown_kind(document: Json) -> Remark | None:
    """Return what is wrong with an object that may be meant as ours and is not."""
    version, kind = str(document.get("apiVersion", "")), str(document.get("kind", ""))
    group, _, number = version.rpartition("/")
    if group == GROUP and version != API_VERSION:
        message = f"there is no version {number!r:.40} of {GROUP}; write apiVersion: {API_VERSION}"
        return Remark("error", "schema", "apiVersion", message)
    if group == GROUP and kind not in MODELS:
        message = f"{GROUP} has no kind {kind!r:.80}; it has {', '.join(sorted(MODELS))}"
        return Remark("error", "schema", "kind", message)
    if not group and number in ("", API_VERSION.partition("/")[2]) and kind in MODELS:
        message = f"without its group this is not ours; write apiVersion: {API_VERSION}"
        return Remark("error", "schema", "apiVersion", message)
    return None


def _documents(paths: Iterable[Path]) -> Iterable[tuple[Path, list[Json] | Remark]]:
    for path in paths:
        files = [path] if path == STDIN else yaml_files([path])
        for file in files:
            try:
                if file == STDIN:
                    yield file, documents_in(sys.stdin.read(), file)
                else:
                    yield file, documents_of(file)
            except SpecError as error:
                message = " ".join(str(error).removeprefix(f"{file}: ").split())
                yield file, Remark("error", "schema", "", message)


def _remarks(one: Kind, beside: Beside, stated: Stated) -> list[Remark]:
    if isinstance(one, Deployment):
        return [
            *deployment_remarks(one, stated.per_second),
            *_pin_remarks(one, beside),
            *_series_remarks(one, beside, stated),
        ]
    if isinstance(one, DriftPolicy):
        return [*_selector_remarks(one, beside), *_policy_remarks(one, beside, stated)]
    return []


def _policy_remarks(policy: DriftPolicy, beside: Beside, stated: Stated) -> list[Remark]:
    """Lint a policy once for each model that it watches."""
    found: list[Remark] = []
    for facts, remarks in facts_of(policy, beside, stated):
        found += [*remarks, *policy_remarks(policy, facts)]
    return list(dict.fromkeys(found))


def _series_remarks(deployment: Deployment, beside: Beside, stated: Stated) -> list[Remark]:
    """Say how many series a pod has, where the model is known."""
    facts, remarks = facts_of_deployment(deployment, beside, stated)
    return [*remarks, *series_remarks(facts)]


def _selector_remarks(policy: DriftPolicy, beside: Beside) -> list[Remark]:
    if not beside.deployments:
        return []
    field = "spec.selector"
    found = []
    known = {deployment.metadata.name for deployment in beside.deployments}
    for name in policy.spec.selector.deployments:
        if name not in known:
            text = f"there is no Deployment {name} here"
            found.append(Remark("warning", "selector", f"{field}.deployments", text))
    own = selected(policy, beside.deployments)
    if not own and not policy.spec.selector.deployments:
        text = "no Deployment here has these labels"
        found.append(Remark("warning", "selector", f"{field}.matchLabels", text))
    for other in beside.policies:
        if other.metadata.name == policy.metadata.name:
            continue
        both = {d.metadata.name for d in own} & {
            d.metadata.name for d in selected(other, beside.deployments)
        }
        if both:
            text = (
                f"{', '.join(sorted(both))}: also watched by {other.metadata.name}; the older wins"
            )
            found.append(Remark("warning", "selector", field, text))
    return found


def _pin_remarks(deployment: Deployment, beside: Beside) -> list[Remark]:
    """A pin should name a version that is in the files; in a cluster, the model should have one."""
    model = deployment.spec.model
    line = [v for v in beside.versions if v.spec.model == model]
    if not line and beside.has_all:
        others = ", ".join(sorted({v.spec.model for v in beside.versions}))
        text = f"there is no version of a model {model} here"
        text += f", only of {others}" if others else ""
        return [Remark("warning", "version", "spec.model", text)]
    pinned = deployment.spec.version
    if pinned is None or not line or any(v.spec.version == pinned for v in line):
        return []
    there = ", ".join(sorted({v.spec.version for v in line}))
    text = f"there is no version {pinned} of {model} here, only {there}"
    return [Remark("warning", "version", "spec.version", text)]


# --- output -------------------------------------------------------------------------------------


def _folded(found: Iterable[Told]) -> list[Told]:
    """Say the same of the same object once, with all files; errors first."""
    by_text: dict[tuple[str, Remark], Told] = {}
    for told in found:
        key = told.object_name, told.remark
        known = by_text.get(key)
        files = told.files if known is None else (*known.files, *told.files)
        by_text[key] = replace(told, files=tuple(dict.fromkeys(files)))
    return sorted(by_text.values(), key=lambda told: _SEVERITIES.index(told.remark.severity))


def _as_text(told: Sequence[Told], objects: int) -> str:
    lines = []
    for one in told:
        more = f" (+{len(one.files) - 1} files)" if len(one.files) > 1 else ""
        where = ": ".join(
            part for part in (one.files[0] + more, one.object_name, one.remark.field) if part
        )
        lines.append(f"{one.remark.severity:8}{where}: {one.remark.message}")
    counted = Counter(one.remark.severity for one in told)
    numbers = ", ".join(_number_of(counted[severity], severity) for severity in _SEVERITIES)
    return "\n".join([*lines, f"{_number_of(objects, 'object')}: {numbers}"])


def _number_of(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _as_json(told: Sequence[Told]) -> str:
    return json.dumps(
        [
            {
                "severity": one.remark.severity,
                "rule": one.remark.rule,
                "files": list(one.files),
                "object": one.object_name,
                "field": one.remark.field,
                "message": one.remark.message,
            }
            for one in told
        ],
        indent=2,
    )


def _name_of(document: Json) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    kind = str(document.get("kind", ""))
    return f"{kind} {name}".strip() if isinstance(name, str) else kind


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not LEAST_RATE <= value <= MOST_RATE:
        wanted = f"a number from {LEAST_RATE:.7f} to {MOST_RATE:.0f}"
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not {wanted}")
    return value
