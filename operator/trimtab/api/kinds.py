"""The four kinds with their names, short names and printer columns."""

from dataclasses import dataclass

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.model_version import ModelVersion
from trimtab.api.retrain_job import RetrainJob

AnyKind = ModelVersion | Deployment | DriftPolicy | RetrainJob


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class KindInfo:
    """How a kind is called and shown."""

    model: type[AnyKind]
    kind: str
    plural: str
    short: str
    columns: tuple[Column, ...]
    scale: bool = False

    @property
    def singular(self) -> str:
        """The name for one object; that of our Deployment says whose it is."""
        return "modeldeployment" if self.kind == "Deployment" else self.kind.lower()


AGE = Column("AGE", ".metadata.creationTimestamp", "date")

KINDS: tuple[KindInfo, ...] = (
    KindInfo(
        ModelVersion,
        "ModelVersion",
        "modelversions",
        "mv",
        (
            Column("MODEL", ".spec.model"),
            Column("VERSION", ".spec.version"),
            Column("VERIFIED", ".status.summary.verified"),
            Column("SCORE", ".status.summary.score"),
            Column("USED-BY", ".status.summary.usedBy"),
            AGE,
        ),
    ),
    KindInfo(
        Deployment,
        "Deployment",
        "modeldeployments",
        "mdep",
        (
            Column("MODEL", ".spec.model"),
            Column("WANT", ".status.summary.want"),
            Column("SERVING", ".status.summary.serving"),
            Column("CANDIDATE", ".status.summary.candidate"),
            Column("STEP", ".status.summary.step"),
            Column("READY", ".status.summary.ready"),
            Column("REASON", ".status.summary.reason"),
            AGE,
        ),
        scale=True,
    ),
    KindInfo(
        DriftPolicy,
        "DriftPolicy",
        "driftpolicies",
        "dp",
        (
            Column("TARGET", ".status.summary.target"),
            Column("VERDICT", ".status.summary.verdict"),
            Column("SIGNAL", ".status.summary.signal"),
            Column("VALUE", ".status.summary.value"),
            Column("N", ".status.summary.n"),
            Column("ACTION", ".status.summary.action"),
            AGE,
        ),
    ),
    KindInfo(
        RetrainJob,
        "RetrainJob",
        "retrainjobs",
        "rj",
        (
            Column("MODEL", ".spec.model"),
            Column("CAUSE", ".status.summary.cause"),
            Column("PHASE", ".status.phase"),
            Column("RESULT", ".status.summary.result"),
            Column("VERSION", ".status.modelVersion"),
            AGE,
        ),
    ),
)

BY_PLURAL = {info.plural: info for info in KINDS}
