"""What the command line says about reasons and alerts, as JSON: it has no models to ask."""

from __future__ import annotations

import json
import re
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.generate.alert_rules import DATA_ALERTS, DEPLOYMENT_ALERTS, OPERATOR_ALERTS, Alert
from trimtab.generate.vocabulary import words_of
from trimtab.state_metrics.families import CONDITION, LAST_DECISION

_SELECTOR = re.compile(rf"({CONDITION.name}|{LAST_DECISION.name})\{{([^}}]*)\}}")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_WITHIN = re.compile(r"< (\d+)$")


def facts_text() -> str:
    """Return the file: reasons with what to do, and the alerts that are about single objects."""
    alerts = [_about_objects(one) for one in (*DEPLOYMENT_ALERTS, *DATA_ALERTS, *OPERATOR_ALERTS)]
    facts = {
        "reasons": {
            word.value: {"meaning": word.meaning, "advice": word.advice}
            for word in words_of(Reason)
        },
        "alerts": [one for one in alerts if one is not None],
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def _about_objects(alert: Alert) -> dict[str, Any] | None:
    """Return an alert with what its one selector asks for; None if it asks for something else."""
    selectors = _SELECTOR.findall(alert.expr)
    if len(selectors) != 1:
        return None
    metric, matchers = selectors[0]
    within = _WITHIN.search(alert.expr) if metric == LAST_DECISION.name else None
    return {
        "name": alert.name,
        "severity": alert.severity,
        "what": alert.what,
        "matchers": _MATCHER.findall(matchers),
        "within_seconds": int(within[1]) if within is not None else 0,
    }
