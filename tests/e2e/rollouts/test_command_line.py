"""The single file as a plug-in of kubectl, through a rollout and its end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.kit.api import Api, condition, until
from tests.e2e.kit.release import kubectl
from tests.e2e.kit.shop import Shop

from trimtab.generate.single_file import program

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

STEPS = ({"weight": "25%", "for": "2m"},)
GRAFANA = "https://grafana.example.com/sub"
Run = Callable[..., str]


@pytest.fixture
def trimtab(tmp_path: Path) -> Run:
    """Run `kubectl trimtab`; there is nothing of the package where it runs."""
    plugin = tmp_path / "kubectl-trimtab"
    plugin.write_bytes(program())
    plugin.chmod(0o755)
    path = f"{tmp_path}:/usr/local/bin:/usr/bin:/bin:{os.environ['PATH']}"

    def run(*words: str, code: int = 0) -> str:
        kept = {name: os.environ[name] for name in ("KUBECONFIG", "HOME") if name in os.environ}
        env = {**kept, "PATH": path, "TRIMTAB_GRAFANA_URL": GRAFANA, "PYTHONNOUSERSITE": "1"}
        done = subprocess.run(
            ["kubectl", "trimtab", words[0], "-n", "e2e-rollouts", *words[1:]],
            env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_a_person_steers_a_rollout(make_shop: Callable[..., Shop], trimtab: Run):
    shop = make_shop("steered", replicas=3, steps=STEPS, rollout={"minSamples": 10})
    shop.serve("good")
    shop.try_version("good2")
    with shop.load(20):
        until("the step runs", lambda: (shop.status.get("summary") or {}).get("step"))
        tree = trimtab("get", "mdep/steered")
        assert tree.startswith("Deployment steered  serves good  wants good2")
        assert tree.count("pod steered-") >= 4
        assert trimtab("pause", "steered").startswith("carried out: pause by ")
        assert condition(shop.live, "Paused")["status"] == "True"
        tree = trimtab("get", "mdep/steered")  # counts come into status with what is decided
        assert "gate errors" in tree
        assert "  paused\n" in tree
        page = trimtab("handover", "steered")
        assert "trimtab resume mdep/steered" in page
        assert "steered-good: nobody" in page
        assert "carried out: resume" in trimtab("resume", "steered")
        assert "is not paused" in trimtab("resume", "steered", code=1)
        assert "carried out: abort" in trimtab("abort", "steered")
    shop.wait_for_outcome("good2 Aborted")
    explained = trimtab("why", "mdep/steered")
    assert "lift with: trimtab retry mdep/steered" in explained
    assert 'trimtab_requests_total{namespace="e2e-rollouts", model="steered"' in explained
    assert "quarantined" in trimtab("handover", "steered")
    link = trimtab("dashboard", "mdep/steered", "--print").strip()
    assert link.startswith(f"{GRAFANA}/d/trimtab-rollout?var-namespace=e2e-rollouts&")
    assert "mdep/steered" in trimtab("__complete", "why", "mdep/")
    assert trimtab("why", "mdep/none", code=1) == (
        "error: there is no Deployment none in namespace e2e-rollouts\n"
    )


def test_a_live_tree_follows_and_ends(make_shop: Callable[..., Shop], trimtab: Run, tmp_path: Path):
    shop = make_shop("followed", replicas=1)
    shop.serve("good")
    told = tmp_path / "told"
    with told.open("w") as out:
        looking = subprocess.Popen(
            [str(tmp_path / "kubectl-trimtab"), "-n", "e2e-rollouts", "get", "-w", "followed"],
            stdout=out,
        )
        try:
            until("it shows", lambda: "serves good" in told.read_text())
            shop.want("nothere")
            until("it follows", lambda: "wants nothere" in told.read_text())
        finally:
            looking.terminate()
            looking.wait(10)


def test_who_may_not_read_is_told_so_in_one_line(
    api: Api, trimtab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    token = kubectl("create", "token", "default", "-n", api.namespace).strip()
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "config"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    said = trimtab("get", code=1)
    assert said.startswith("error: modeldeployments.trimtab.dev is forbidden: User ")
    assert len(said.splitlines()) == 1
    said = trimtab("get", "--context", "nope", code=1)
    assert "nope" in said
    assert len(said.splitlines()) == 1
