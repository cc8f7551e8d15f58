"""Types of objects of a cluster, as plain data, and how one object is named."""

from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A type of object: group, version, plural and kind."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Key(NamedTuple):
    """One object: type, namespace, name."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.plural}/{self.namespace}/{self.name}"


MODEL_VERSIONS = Resource("trimtab.dev", "v1alpha1", "modelversions", "ModelVersion")
DEPLOYMENTS = Resource("trimtab.dev", "v1alpha1", "modeldeployments", "Deployment")
DRIFT_POLICIES = Resource("trimtab.dev", "v1alpha1", "driftpolicies", "DriftPolicy")
RETRAIN_JOBS = Resource("trimtab.dev", "v1alpha1", "retrainjobs", "RetrainJob")
PODS = Resource("", "v1", "pods", "Pod")

OWN_KINDS = (MODEL_VERSIONS, DEPLOYMENTS, DRIFT_POLICIES, RETRAIN_JOBS)
