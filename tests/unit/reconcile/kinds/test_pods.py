"""What decisions read of a pod."""

from datetime import UTC, datetime

import pytest

from trimtab.reconcile.kinds.pods import view_of

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def pod(*, ready, ready_since, started=True, running_since="2026-11-23T12:00:10Z"):
    return {
        "metadata": {"name": "m-1", "uid": "u"},
        "status": {
            "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": ready_since}
            ],
            "containerStatuses": [
                {
                    "name": "model",
                    "started": started,
                    "state": {"running": {"startedAt": running_since}},
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("given", "was_ready"),
    [
        pytest.param(pod(ready=True, ready_since="2026-11-23T12:00:20Z"), True, id="is_ready"),
        pytest.param(
            pod(ready=False, ready_since="2026-11-23T12:00:25Z"), True, id="stopped_being_ready"
        ),
        pytest.param(
            pod(ready=False, ready_since="2026-11-23T12:00:09Z"),
            False,
            id="started_but_not_yet_asked",
        ),
        pytest.param(
            pod(ready=False, ready_since="2026-11-23T12:00:09Z", started=False),
            False,
            id="starting",
        ),
    ],
)
def test_tells_whether_it_was_ready(given, was_ready):
    assert view_of(given, NOW).was_ready is was_ready
