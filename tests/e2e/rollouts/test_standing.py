"""What other tools see of a Deployment on a real API server, and what Argo CD is given."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.release import kubectl
from tests.e2e.rollouts.conftest import NAMESPACE, MakeShop
from tests.gitops.judges import HEALTH, ROOT, ask, find_verdicts, health_of
from tests.patience import stretched

from trimtab.cli.wait import DONE, NEEDS_PERSON

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


def verdict_on(live: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what kstatus, Flux with and without expressions, and Argo CD say."""
    program = find_verdicts()
    if program is None:
        pytest.skip("nothing to ask: `python -m tests.cluster verdicts` builds it")
    (verdict,) = ask(program, [live])
    return verdict.kstatus, verdict.flux, verdict.flux_alone, health_of(live)[0]


def wait(name: str, *more: str) -> int:
    """Return how `trimtab wait` ended."""
    words = ["-m", "trimtab.cli.main", "-n", NAMESPACE, "wait", f"mdep/{name}", *more]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=stretched(90), check=False
    )
    assert done.stdout, done.stderr
    return done.returncode


def test_tools_wait_for_what_serves_and_see_what_cannot(api: Api, make_shop: MakeShop) -> None:
    shop = make_shop("standing", replicas=1)
    shop.publish("good")
    shop.want("good")
    kubectl(
        *("wait", "mdep/standing", "-n", NAMESPACE, "--for=condition=UpToDate", "--timeout=90s"),
        timeout=100,
    )
    assert verdict_on(shop.live) == ("Current", "Current", "Current", "Healthy")
    version = api.get("ModelVersion", "standing-good")
    assert version is not None
    assert verdict_on(version) == ("Current", "Current", "Current", "Healthy")
    shop.want("missing")
    assert wait("standing", "--timeout", "60s") == NEEDS_PERSON
    assert verdict_on(shop.live) == ("Failed", "Failed", "Failed", "Degraded")
    assert shop.reason("Stalled") == shop.reason("UpToDate") == "VersionMissing"
    shop.want("good")
    assert wait("standing", "--promoted", "--version", "good", "--timeout", "60s") == DONE
    assert verdict_on(shop.live) == ("Current", "Current", "Current", "Healthy")


def test_the_patch_of_argocd_gives_each_kind_the_script(api: Api) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}}
    api.apply("ConfigMap", config | {"data": {"url": "https://argocd.example.com"}})
    patch = ROOT / "manifests/gitops/argocd/argocd-cm.yaml"
    kubectl(
        *("patch", "configmap", "argocd-cm", "--namespace", NAMESPACE),
        *("--type", "merge", "--patch-file", str(patch)),
    )
    live = api.get("ConfigMap", "argocd-cm")
    assert live is not None
    kinds = ("ModelVersion", "Deployment", "DriftPolicy", "RetrainJob")
    keys = {f"resource.customizations.health.trimtab.dev_{kind}" for kind in kinds}
    assert set(live["data"]) == keys | {"url"}
    assert {live["data"][key] for key in keys} == {HEALTH.read_text()}
