"""The kinds that are reconciled; a further one is a module in `kinds` and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.api.resource import Resource
from trimtab.reconcile.kinds.deployment import DEPLOYMENT
from trimtab.reconcile.kinds.drift_policy import DRIFT_POLICY
from trimtab.reconcile.kinds.model_version import MODEL_VERSION
from trimtab.reconcile.kinds.retrain_job import RETRAIN_JOB
from trimtab.reconcile.machine.engine import Reconciler
from trimtab.reconcile.pass_ import KindPass

KINDS: tuple[KindPass[Any, Any], ...] = (MODEL_VERSION, DEPLOYMENT, DRIFT_POLICY, RETRAIN_JOB)
RECONCILERS: Mapping[Resource, Reconciler] = {kind.resource: kind.reconciler() for kind in KINDS}
