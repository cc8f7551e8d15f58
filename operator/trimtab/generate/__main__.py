"""Write the generated files below the current folder, or with `--check` compare them."""

import argparse
import sys
from pathlib import Path

from trimtab.api.kinds import KINDS
from trimtab.build.engines import ENGINES
from trimtab.generate.access import engine_rules_text
from trimtab.generate.alert_rules import rules_text
from trimtab.generate.alerts_page import alerts_page
from trimtab.generate.chart_page import chart_page
from trimtab.generate.cli_facts import facts_text
from trimtab.generate.commands_page import commands_page
from trimtab.generate.conditions_page import conditions_page, runbook_page
from trimtab.generate.crds import crd_name, crd_text
from trimtab.generate.dashboards.boards import DASHBOARDS
from trimtab.generate.estimators_page import estimators_page
from trimtab.generate.fields_page import fields_page
from trimtab.generate.health_page import argocd_text, health_page
from trimtab.generate.metrics_page import metrics_page

CRD_FOLDERS = (Path("crds"), Path("charts/trimtab/files/crds"))
VALUES = Path("charts/trimtab/values.yaml")
FACTS = Path("operator/trimtab/cli/facts.json")
RULES = Path("charts/trimtab/files/rules.yaml")
DASHBOARD_FOLDER = Path("charts/trimtab/files/dashboards")
ESTIMATORS = Path("operator/trimtab/generate/estimators.json")
ARGOCD = Path("manifests/gitops/argocd")
ENGINE_RULES = Path("charts/trimtab/templates/_engine_rules.tpl")


def generated_files(root: Path) -> dict[Path, str]:
    """Return the text of every generated file, by path from the root of the project."""
    files = {
        folder / f"{crd_name(info)}.yaml": crd_text(info)
        for folder in CRD_FOLDERS
        for info in KINDS
    }
    dashboards = {DASHBOARD_FOLDER / f"{name}.json": text() for name, text in DASHBOARDS.items()}
    docs = Path("docs")
    return {
        **files,
        **dashboards,
        docs / "reference/fields.md": fields_page(),
        docs / "reference/conditions.md": conditions_page(),
        docs / "reference/commands.md": commands_page(),
        docs / "reference/chart.md": chart_page((root / VALUES).read_text(encoding="utf-8")),
        docs / "reference/metrics.md": metrics_page(),
        docs / "reference/estimators.md": estimators_page((root / ESTIMATORS).read_text("utf-8")),
        docs / "reference/health.md": health_page(),
        docs / "runbook.md": runbook_page(),
        docs / "alerts.md": alerts_page(),
        FACTS: facts_text(),
        RULES: rules_text(),
        ARGOCD / "argocd-cm.yaml": argocd_text((root / ARGOCD / "health.lua").read_text("utf-8")),
        ENGINE_RULES: engine_rules_text(ENGINES.values()),
    }


def differing_files(root: Path, files: dict[Path, str]) -> list[Path]:
    """Return which of `files` are missing or stale, and leftover CRDs and dashboards, sorted."""
    stale = [path for path, text in files.items() if _text(root / path) != text]
    leftover = [
        path.relative_to(root)
        for folder in (*CRD_FOLDERS, DASHBOARD_FOLDER)
        for path in (root / folder).glob("*.*")
        if path.relative_to(root) not in files
    ]
    return sorted(stale + leftover)


def write_files(root: Path, files: dict[Path, str]) -> None:
    """Write `files` and remove what is left over."""
    for path in differing_files(root, files):
        if path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path], encoding="utf-8")
        else:
            (root / path).unlink()


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the project")
    options = parser.parse_args(arguments)
    if not options.check:
        write_files(options.root, generated_files(options.root))
        return 0
    stale = differing_files(options.root, generated_files(options.root))
    for path in stale:
        print(f"{path} differs from what `make generate` writes", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
