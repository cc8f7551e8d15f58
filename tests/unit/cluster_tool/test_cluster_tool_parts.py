"""What the cluster tool decides before it touches the machine."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from tests.cluster.archive import Image, write_image
from tests.cluster.existing import loader_of
from tests.cluster.settings import ClusterError, read_settings
from tests.cluster.tool import main


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "-a", "a" * 21])
def test_a_name_that_cannot_be_a_namespace_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_CLUSTER_NAME", name)
    with pytest.raises(ClusterError, match="TRIMTAB_CLUSTER_NAME"):
        read_settings()


def test_two_names_share_nothing_but_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_CLUSTER_NAME", "one")
    one = read_settings()
    monkeypatch.setenv("TRIMTAB_CLUSTER_NAME", "two")
    two = read_settings()
    assert one.cache == two.cache
    assert {one.state, one.namespace, one.cgroup}.isdisjoint({two.state, two.namespace, two.cgroup})


def test_an_image_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    image = Image("localhost/thing:1", {"/bin/program": program}, ["/bin/program"])
    write_image(image, tmp_path / "first.tar")
    write_image(image, tmp_path / "second.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    with tarfile.open(tmp_path / "first.tar") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        [entry] = json.load(manifest)
    assert entry["RepoTags"] == ["localhost/thing:1"]


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("kind-lab", "kind load image-archive {archive} --name lab"),
        ("k3d-lab", "k3d image import {archive} --cluster lab"),
        ("minikube", "minikube image load {archive}"),
    ],
)
def test_local_clusters_get_images_by_their_own_command(context: str, words: str) -> None:
    assert " ".join(loader_of(context)) == words


def test_other_clusters_need_a_registry() -> None:
    with pytest.raises(ClusterError, match="registry"):
        loader_of("production")


def fake_kubectl(folder: Path, status: int) -> None:
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\nexit {status}\n')
    program.chmod(0o755)


@pytest.mark.parametrize(("status", "text"), [(0, "nothing to start or stop"), (1, "not answer")])
@pytest.mark.parametrize("verb", ["up", "down"])
def test_a_given_context_is_only_asked_whether_it_answers(
    verb: str,
    status: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_kubectl(tmp_path, status)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("KUBE_CONTEXT", "mine")
    assert main([verb]) == status
    output = capsys.readouterr()
    assert text in output.out + output.err
    [call] = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("--context mine")
    assert call.endswith("get --raw /readyz")
