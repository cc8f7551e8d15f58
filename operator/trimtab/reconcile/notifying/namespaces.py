"""What namespaces say about notifications, read when it is needed and kept for a minute."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from trimtab.cluster.port import Cluster
from trimtab.errors import Refused, RetryLater
from trimtab.notify.routes import NOTIFY_ANNOTATION, named_in

logger = logging.getLogger(__name__)

KEPT_SECONDS = 60.0
MOST_KEPT = 10_000


class Namespaces:
    """The destinations that each namespace names."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float]) -> None:
        """clock: monotonic seconds."""
        self._cluster = cluster
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, frozenset[str] | None]] = OrderedDict()
        self._is_refused = False

    async def named(self, namespace: str) -> frozenset[str] | None:
        """Return the names; None where it names none. Raises RetryLater if nobody knows.

        Where reading fails what was read before holds on; where it is not permitted, or the
        namespace is gone, it names none.
        """
        kept = self._kept.get(namespace)
        if kept is not None and 0 <= self._clock() - kept[0] < KEPT_SECONDS:
            return kept[1]
        try:
            annotations = await self._cluster.read_namespace_annotations(namespace)
            found = named_in(annotations.get(NOTIFY_ANNOTATION))
        except RetryLater:
            if kept is None:
                raise
            found = kept[1]
        except Refused as error:
            if not self._is_refused:
                logger.warning("%s of namespaces is not read: %s", NOTIFY_ANNOTATION, error)
            self._is_refused, found = True, None
        self._kept[namespace] = self._clock(), found
        self._kept.move_to_end(namespace)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found
