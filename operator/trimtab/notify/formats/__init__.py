"""What is sent to each type of destination: a pure function of a message and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trimtab.notify.formats.alertmanager import alertmanager_sent
from trimtab.notify.formats.sent import Sent
from trimtab.notify.formats.slack import slack_sent
from trimtab.notify.formats.teams import teams_sent
from trimtab.notify.formats.webhook import webhook_sent
from trimtab.notify.message import Telling
from trimtab.notify.settings import DestinationType

FORMATS: Mapping[DestinationType, Callable[[Telling], Sent | None]] = {
    "webhook": webhook_sent,
    "slack": slack_sent,
    "teams": teams_sent,
    "alertmanager": alertmanager_sent,
}
"""By type; None: this type has nothing to send for such a decision."""
