"""The quick start's files are objects of ours, and differ only in what an act is about."""

import pytest
import yaml
from tests.unit.chart.rendering import ROOT, pod_specs

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy

FOLDER = ROOT / "manifests" / "quickstart"


def load(name):
    return yaml.safe_load((FOLDER / name).read_text())


def test_deployments_differ_only_in_the_version():
    names = ("01-serve.yaml", "03-try-worse.yaml", "04-try-better.yaml", "05-follow.yaml")
    documents = [load(name) for name in names]
    wanted = []
    for document in documents:
        Deployment.model_validate(document)
        spec = document["spec"]
        wanted.append(spec.pop("version", None) or spec.pop("follow"))
    assert wanted == ["v1", "v2", "v3", {}]
    assert all(document == documents[0] for document in documents)


def test_policy_watches_that_deployment():
    policy = DriftPolicy.model_validate(load("06-watch.yaml"))
    assert policy.spec.selector.deployments == [load("01-serve.yaml")["metadata"]["name"]]


@pytest.mark.parametrize("name", ["00-publish.yaml", "02-users.yaml", "07-shift.yaml"])
def test_programs_run_restricted_and_without_an_api_token(name):
    for spec in pod_specs(list(yaml.safe_load_all((FOLDER / name).read_text()))).values():
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        (container,) = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_users_differ_only_in_the_turn_of_their_images():
    before = load("02-users.yaml")
    after, _ = yaml.safe_load_all((FOLDER / "07-shift.yaml").read_text())
    words = [
        users["spec"]["template"]["spec"]["containers"][0].pop("command")
        for users in (before, after)
    ]
    assert before == after
    assert set(words[0]) ^ set(words[1]) == {"--rotate=0", "--rotate=10:15"}
