"""Posts to one destination. It may be down, slow, hostile or misled: that costs one bounded try.

No redirect is followed, nothing of the answer but its status and Retry-After is read, and nothing
of the URL, which is a secret, is ever in a message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from trimtab.errors import Refused, RetryLater
from trimtab.notify.formats import FORMATS
from trimtab.notify.message import Telling
from trimtab.notify.network import BoundedTransport
from trimtab.notify.settings import Destination
from trimtab.notify.signature import read_keys, signed

WITHIN_SECONDS = 15.0
"""One try, over all of connecting, sending and the beginning of an answer."""
LONGEST_ASKED_SECONDS = 3600.0
"""A receiver that asks for more with Retry-After is asked again after this."""
MOST_SECRET_BYTES = 64 * 1024
LONGEST_URL = 2048
_LATER = {401, 403, 407, 408, 425, 429}
"""Of the codes below 500 those that speak of the moment, or of credentials that are replaced."""


@dataclass(frozen=True)
class Secrets:
    """The files of one destination, read for each try: they may be replaced at any time."""

    folder: Path
    name: str

    def text(self, kind: str) -> str | None:
        """Return what `NAME.KIND` has; None if there is no such file. Raises RetryLater."""
        try:
            with (self.folder / f"{self.name}.{kind}").open("rb") as file:
                found = file.read(MOST_SECRET_BYTES + 1)
            if len(found) > MOST_SECRET_BYTES:
                raise ValueError
            return found.decode("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RetryLater(f"{self.name}.{kind} of the Secret cannot be read") from error


class Poster:
    """Sends what a format makes, with the destination's secrets."""

    def __init__(
        self,
        destination: Destination,
        folder: Path,
        *,
        now: Callable[[], datetime],
        within_seconds: float = WITHIN_SECONDS,
    ) -> None:
        """folder: of the mounted Secret. Opens no connection yet."""
        self._destination = destination
        self._secrets = Secrets(folder, destination.name)
        self._now = now
        self._within = within_seconds
        self._client: tuple[str | None, httpx.AsyncClient] | None = None
        """With the authorities that it trusts."""

    async def close(self) -> None:
        """Close all connections; the next message opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client[1].aclose()

    async def post(self, telling: Telling) -> None:
        """Send one message. Raises RetryLater, or Refused where another try may not help."""
        sent = FORMATS[self._destination.type](replace(telling, at=self._now()))
        if sent is None:
            return
        url = self._url(sent.path)
        headers = {**sent.headers, "accept-encoding": "identity", "user-agent": "trimtab"}
        if self._destination.type == "webhook" and (keys := self._keys()):
            seconds = int(self._now().timestamp())
            headers |= signed(keys, telling.message.id, seconds, sent.body)
        elif self._destination.type == "webhook":
            headers["webhook-id"] = telling.message.id
        if token := self._secrets.text("token"):
            headers["authorization"] = f"Bearer {token}"
        await self._send(url, headers, sent.body)

    async def _send(self, url: httpx.URL, headers: dict[str, str], body: bytes) -> None:
        try:
            async with asyncio.timeout(self._within):
                client = await self._connected()
                async with client.stream("POST", url, content=body, headers=headers) as answer:
                    status, asked = answer.status_code, answer.headers.get("retry-after", "")
        except TimeoutError as error:
            raise RetryLater(f"no answer within {self._within:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError, OSError) as error:
            raise RetryLater(f"no answer: {type(error).__name__}") from error
        except ExceptionGroup as error:  # of one try for each address
            raise RetryLater("no answer: no address can be reached") from error
        if 200 <= status < 300:
            return
        if status in _LATER or status >= 500 or status < 200:
            raise RetryLater(f"HTTP {status}", self._asked(asked))
        raise Refused(f"HTTP {status}")

    def _url(self, path: str) -> httpx.URL:
        text = self._secrets.text("url")
        if not text:
            raise RetryLater(f"there is no {self._destination.name}.url in the Secret")
        try:
            url = httpx.URL(text) if len(text) <= LONGEST_URL else httpx.URL()
            has_host = bool(url.host)
        except (httpx.InvalidURL, UnicodeError):  # the latter of a host in punycode
            url, has_host = httpx.URL(), False
        schemes = ("https", "http") if self._destination.insecure else ("https",)
        if url.scheme not in schemes or not has_host or url.userinfo or url.fragment:
            raise RetryLater(
                f"{self._destination.name}.url must be a URL of {' or '.join(schemes)}, without "
                "a user or a fragment"
            )
        if path and not url.path.endswith(path):
            url = url.copy_with(path=url.path.rstrip("/") + path)
        return url

    def _keys(self) -> list[bytes]:
        text = self._secrets.text("key")
        if text is None:
            return []
        try:
            return read_keys(text)
        except ValueError as error:
            raise RetryLater(f"{self._destination.name}.key: {error}") from error

    async def _connected(self) -> httpx.AsyncClient:
        authorities = self._secrets.text("ca.crt")
        if self._client is None or self._client[0] != authorities:
            await self.close()
            try:
                if authorities == "":  # would be those of the system, too
                    raise ssl.SSLError
                # Those of the system if there is no file. Reading them takes a while.
                trusted = await asyncio.to_thread(ssl.create_default_context, cadata=authorities)
            except ssl.SSLError as error:
                name = f"{self._destination.name}.ca.crt"
                raise RetryLater(f"{name} is no certificate in PEM") from error
            self._client = authorities, _client(trusted)
        return self._client[1]

    def _asked(self, text: str) -> float | None:
        """Return the seconds that a Retry-After asks for; None if nobody can read it."""
        if text.isascii() and text.isdigit():
            seconds = float(text[:12])
        else:
            try:
                until = parsedate_to_datetime(text[:64])
            except (ValueError, TypeError, OverflowError):
                return None
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            seconds = (until - self._now()).total_seconds()
        return min(max(0.0, seconds), LONGEST_ASKED_SECONDS)


def _client(trusted: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=BoundedTransport(trusted),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # one limit over the whole try
    )
