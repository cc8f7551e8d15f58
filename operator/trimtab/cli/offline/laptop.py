"""Serving an artifact on a person's own machine: started, told of, exchanged, ended."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from trimtab.cli.offline.places import Found, NothingThere, find
from trimtab.cli.offline.told import Addresses, told
from trimtab.contract.token import MIN_KEY_BYTES
from trimtab.errors import TrimtabError, installing, plain, shown
from trimtab.serving.errors import SettingsInvalid, StartRefused
from trimtab.serving.lifecycle import Server
from trimtab.serving.settings import ServingSettings, read_settings

WRONG_INPUT: Final = 2
FETCH_SECONDS: Final = 1800
DRAIN_SECONDS: Final = 5
LOOK_SECONDS: Final = 1.0
LOOK_AT_STORE_SECONDS: Final = 10.0
LONGEST_LOOK_SECONDS: Final = 60.0
"""Between two looks at what could not be loaded."""


async def serve(options: argparse.Namespace) -> int:
    """See `run_serve`."""
    if options.reload and options.digest:
        return _wrong("--reload takes what comes and --digest only one: give one of them")
    try:
        found = find(options.where, options.credentials, options.digest)
    except NothingThere as error:
        return _wrong(str(error))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    with TemporaryDirectory(prefix="trimtab-serve-", ignore_cleanup_errors=True) as scratch:
        return await _Session(options, Path(scratch)).run(found)


def _wrong(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return WRONG_INPUT


class _Session:
    """One run of the command; what it fetches lies in the folder `scratch`."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self._options = options
        self._scratch = scratch
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[int] = loop.create_future()
        self._hurry: asyncio.Future[None] = loop.create_future()

    async def run(self, found: Found) -> int:
        """Serve; return 128 and the number of the signal that ended it."""
        key = self._scratch / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(2 * MIN_KEY_BYTES))
        settings = settings_of(self._options, found, self._scratch)
        server = Server(settings, started=time.time())
        self._heed_signals()
        try:
            if await self._is_done(server.start(), found):
                self._tell(server, found)
                if self._options.reload:
                    await self._follow(server, found)
                await self._stop
                await _first(asyncio.ensure_future(server.drain()), self._hurry)
        finally:
            await server.close()
        return 128 + self._stop.result()

    def _heed_signals(self) -> None:
        """End well at the first signal, and at once at the second."""
        loop = asyncio.get_running_loop()

        def ended(number: int) -> None:
            if not self._stop.done():
                self._stop.set_result(number)
            elif not self._hurry.done():
                self._hurry.set_result(None)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended, int(number))

    async def _is_done(self, doing: Coroutine[Any, Any, None], found: Found) -> bool:
        """Wait for something that a signal may end; raise TrimtabError."""
        task = asyncio.ensure_future(doing)
        if not await _first(task, self._stop):
            return False
        try:
            task.result()
        except StartRefused as refused:
            raise TrimtabError(_sentence(refused, found)) from refused
        return True

    def _tell(self, server: Server, found: Found) -> None:
        served = server.inference.served
        assert served is not None
        addresses = Addresses(self._options.host, server.inference_port, server.metrics_port)
        lines = told(found, served.signature, served.baseline, addresses, self._scratch)
        print(shown("\n".join(lines)), flush=True)

    async def _follow(self, server: Server, found: Found) -> None:
        """Go on with what comes to the place, until a signal."""
        watch = _Watch(self._options, found.digest)
        watch.start()
        said = ""
        while not self._stop.done():
            looking = asyncio.ensure_future(watch.seen.get())
            if not await _first(looking, self._stop):
                return
            new = looking.result()
            try:
                if isinstance(new, TrimtabError):
                    raise new
                if not await self._is_done(
                    server.replace(settings_of(self._options, new, self._scratch)), new
                ):
                    return
            except TrimtabError as error:
                watch.look_again()
                if str(error) != said:
                    said = str(error)
                    text = f"not loaded: {shown(error)}; {found.title} goes on"
                    print(text, file=sys.stderr, flush=True)
                continue
            shutil.rmtree(self._scratch / _folder(found.digest), ignore_errors=True)
            found, said = new, ""
            watch.go_on(found.digest)
            print("\nFrom now on another artifact is served:")
            self._tell(server, found)


def settings_of(options: argparse.Namespace, found: Found, scratch: Path) -> ServingSettings:
    """Return the settings: of the command, and for the rest of the environment, as in pods.

    Raise TrimtabError where a variable is wrong.
    """
    told = {
        "MODEL": found.manifest.model,
        "VERSION": found.manifest.version,
        "ARTIFACT_URI": found.uri,
        "ARTIFACT_DIGEST": found.digest,
        "ARTIFACT_FORMAT": "",
        "ARTIFACT_CREDENTIALS": str(options.credentials or ""),
        "FETCH_SECONDS": str(FETCH_SECONDS),
        "TRUST_PICKLE": str(options.trust_pickle).lower(),
        "SCRATCH": str(scratch),
        "TOKEN_KEY_FILE": str(scratch / "key"),
        "HOST": options.host,
        "INFERENCE_PORT": str(options.port),
        "METRICS_PORT": str(options.metrics_port),
        "DRAIN_GRACE_SECONDS": "0",
        "DRAIN_LINGER_SECONDS": "0.2",
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    ours = {f"TRIMTAB_{name}": value for name, value in told.items()}
    try:
        return read_settings({**os.environ, **ours})
    except StartRefused as refused:
        is_ours = str(refused).partition(" ")[0] in ours
        text = _sentence(refused, found) if is_ours else str(refused)
        raise TrimtabError(text) from refused


class _Watch:
    """Looks at the place now and then, in a thread: stores take their time.

    All but the thread's own function belong to the event loop.
    """

    def __init__(self, options: argparse.Namespace, served: str) -> None:
        self.seen: asyncio.Queue[Found | TrimtabError] = asyncio.Queue()
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._served = served
        is_remote = "://" in options.where and not options.where.startswith("file:")
        self._every = LOOK_AT_STORE_SECONDS if is_remote else LOOK_SECONDS
        self._pause = self._every
        self._go = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()
        self._go.set()

    def look_again(self) -> None:
        """Look later at what could not be loaded: its files may still be on their way."""
        self._pause = min(2 * self._pause, LONGEST_LOOK_SECONDS)
        self._go.set()

    def go_on(self, served: str) -> None:
        """Look for what comes after the artifact that is served now."""
        self._served = served
        self._pause = self._every
        self._go.set()

    def _run(self) -> None:
        """Find one other artifact, or what keeps from it, each time that is asked for."""
        while self._go.wait():
            self._go.clear()
            found: Found | TrimtabError
            while True:
                time.sleep(self._pause)
                try:
                    found = find(self._options.where, self._options.credentials)
                except TrimtabError as error:
                    found = error
                if isinstance(found, TrimtabError) or found.digest != self._served:
                    break
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self.seen.put_nowait, found)


async def _first(task: asyncio.Future[Any], other: asyncio.Future[Any]) -> bool:
    """Wait for either; whether it was the task, which is cancelled if not."""
    await asyncio.wait({task, other}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        return False
    return True


def _folder(digest: str) -> str:
    return "trimtab-" + digest.removeprefix("sha256:")


def _sentence(refused: StartRefused, found: Found) -> str:
    """Return why an artifact is not served here, and what to do."""
    cause = refused.__cause__
    if isinstance(refused, SettingsInvalid) and isinstance(cause, OSError):
        option = "--metrics-port" if "METRICS_PORT" in str(refused) else "--port"
        where = str(refused).partition(": ")[2].partition(" cannot")[0]
        if cause.errno == errno.EADDRINUSE:
            return f"{where} is in use: name another port by {option}"
        return f"{where} cannot be listened on: {plain(cause)}"
    if refused.reason.startswith("Needs"):
        extra = "onnx" if refused.reason == "NeedsOnnxRuntime" else "tables"
        return (
            f"{found.shown}: the model is in {found.manifest.format} format, and what runs it is "
            f"not installed: {installing('serving', extra)}"
        )
    if refused.reason == "PickleNotTrusted":
        return (
            f"{found.shown}: the model is a pickle, which can run any code here: --trust-pickle "
            "loads it all the same"
        )
    return f"{found.shown}: {refused}"
