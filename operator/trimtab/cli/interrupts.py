"""Ctrl-C in commands that wait for one thing after another, without the event loop."""

from __future__ import annotations

import signal


def end_at_once() -> None:
    """Have Ctrl-C end what blocks: the loop would only cancel what waits on it.

    Where it is ignored, as in the background of a script, that is left.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
