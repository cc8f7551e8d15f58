"""Small objects for tests of the cluster in memory."""

from typing import Any

from trimtab.api.meta import DEPLOYMENT_LABEL, MANAGED_BY_LABEL, MANAGER
from trimtab.build.engines.job import JOBS
from trimtab.cluster.port import DEPLOYMENTS, SERVICES, WORKLOADS, Json, Key

LABELS = {MANAGED_BY_LABEL: MANAGER, DEPLOYMENT_LABEL: "digits"}
DEPLOYMENT = Key(DEPLOYMENTS, "shop", "digits")
WORKLOAD = Key(WORKLOADS, "shop", "digits-a")
JOB = Key(JOBS, "shop", "train")
SERVICE = Key(SERVICES, "shop", "digits")


def deployment(**spec: Any) -> Json:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "digits", "namespace": "shop"},
        "spec": {"model": "digits", "version": "v1"} | spec,
    }


def workload(replicas: int = 2, image: str = "serving:1", **metadata: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "digits-a", "namespace": "shop", "labels": LABELS} | metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "model", "image": image}]},
            },
        },
    }


def service() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "digits", "namespace": "shop", "labels": LABELS},
        "spec": {"selector": LABELS},
    }


def job(**spec: Any) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", "namespace": "shop", "labels": LABELS},
        "spec": {
            "backoffLimit": 1,
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "trainer", "image": "training:1"}]},
            },
        }
        | spec,
    }
