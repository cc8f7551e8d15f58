"""`make demo-clean`: what people have of our kinds elsewhere is not the demo's to delete."""

from __future__ import annotations

import pytest
from tests.demo import play
from tests.demo.stage import NAMESPACE
from tests.e2e.kit.release import SYSTEM

KINDS = ["modeldeployments.trimtab.dev", "modelversions.trimtab.dev"]


class Cluster:
    """Answers kubectl and helm; `objects` are namespaces by kind. Keeps what was deleted."""

    def __init__(self, objects: dict[str, list[str]], made_by_demo: bool = True) -> None:
        self.objects = objects
        self.made_by_demo = made_by_demo
        self.deleted: list[str] = []

    def kubectl(self, *words: str, timeout: float = 60.0) -> str:
        match words:
            case ("delete", what, *names):
                self.deleted += [f"{what} {name}" for name in names if not name.startswith("-")]
                if names[0] == NAMESPACE:
                    self.objects = {
                        kind: [place for place in places if place != NAMESPACE]
                        for kind, places in self.objects.items()
                    }
                return ""
            case ("get", "namespaces", *_):
                return f"namespace/{SYSTEM}\n" if self.made_by_demo else ""
            case ("get", "crd", *_):
                kinds = [*self.objects, "certificates.cert-manager.io"]
                return "".join(f"customresourcedefinition/{kind}\n" for kind in kinds)
            case ("get", kind, "--all-namespaces", *_):
                return " ".join(self.objects[kind])
        raise AssertionError(words)

    def helm(self, *words: str, timeout: float = 180.0) -> str:
        self.deleted.append(" ".join(words[:2]))
        return ""


def cleaned(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> str:
    monkeypatch.setattr(play, "kubectl", cluster.kubectl)
    monkeypatch.setattr(play, "helm", cluster.helm)
    return play.clean()


def test_all_goes_where_only_the_demo_has_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster({kind: [NAMESPACE, NAMESPACE] for kind in KINDS})
    assert cleaned(monkeypatch, cluster) == "removed"
    assert cluster.deleted == [
        f"namespace {NAMESPACE}",
        "uninstall trimtab",
        *(f"crd {kind}" for kind in KINDS),
        f"namespace {SYSTEM}",
    ]


@pytest.mark.parametrize("context", ["", "kind-mine"])
def test_objects_elsewhere_keep_release_and_kinds(
    monkeypatch: pytest.MonkeyPatch, context: str
) -> None:
    monkeypatch.setenv("KUBE_CONTEXT", context)
    cluster = Cluster({KINDS[0]: [NAMESPACE], KINDS[1]: ["shop", NAMESPACE, "search", "shop"]})
    said = cleaned(monkeypatch, cluster)
    assert cluster.deleted == [f"namespace {NAMESPACE}"]
    assert "objects of the kinds are in search, shop\n" in said
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert [line.removeprefix("python3 -m tests.cluster run -- ") for line in commands] == [
        f"helm uninstall trimtab --namespace {SYSTEM} --wait",
        f"kubectl delete crd {' '.join(KINDS)}",
        f"kubectl delete namespace {SYSTEM}",
    ]


def test_a_release_of_a_person_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE_CONTEXT", "kind-mine")
    cluster = Cluster({kind: [] for kind in KINDS}, made_by_demo=False)
    assert "not the demo's" in cleaned(monkeypatch, cluster)
    assert cluster.deleted == [f"namespace {NAMESPACE}"]
