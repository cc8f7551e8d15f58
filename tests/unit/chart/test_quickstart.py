"""The quick start's files are objects of ours, and differ only in what an act is about."""

import yaml
from tests.unit.chart.rendering import ROOT, pod_specs

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy

FOLDER = ROOT / "manifests" / "quickstart"


def load(name):
    return yaml.safe_load((FOLDER / name).read_text())


def test_deployments_differ_only_in_the_version():
    names = ("01-serve.yaml", "02-try-worse.yaml", "03-try-better.yaml", "04-follow.yaml")
    documents = [load(name) for name in names]
    wanted = []
    for document in documents:
        Deployment.model_validate(document)
        spec = document["spec"]
        wanted.append(spec.pop("version", None) or spec.pop("follow"))
    assert wanted == ["v1", "v2", "v3", {}]
    assert all(document == documents[0] for document in documents)


def test_policy_watches_that_deployment():
    policy = DriftPolicy.model_validate(load("05-watch.yaml"))
    assert policy.spec.selector.deployments == [load("01-serve.yaml")["metadata"]["name"]]


def test_publishing_runs_restricted_and_without_an_api_token():
    ((_, spec),) = pod_specs([load("00-publish.yaml")]).items()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
