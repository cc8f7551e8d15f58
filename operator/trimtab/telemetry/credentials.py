"""Credentials of metrics backends: Secrets mounted into the operator, one folder each.

    <folder>/<secret>/url                 where they may be sent: needed
                      token               | username + password
                      ca.crt, orgId       optional

A Deployment names the Secret and the URL. Whoever may write a Deployment must not learn a token by
naming a URL of his own, so the Secret says itself where it belongs.
"""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from trimtab.telemetry.port import NoData, NoDataReason
from trimtab.telemetry.prometheus import PrometheusReader

FOLDER = Path("/var/run/trimtab/prometheus")
LARGEST_BYTES = 65_536


@dataclass(frozen=True)
class _Kept:
    files: tuple[tuple[str, str], ...]
    reader: PrometheusReader


class Readers:
    """Readers by URL and Secret; made anew when a file of the Secret changes."""

    def __init__(
        self, folder: Path = FOLDER, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._folder = folder
        self._transport = transport
        # What an answer becomes is bounded one by one: many at once would not be.
        self._parsing = asyncio.Lock()
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def reader(self, url: str, secret: str) -> PrometheusReader | NoData:
        """Return a reader, or why there is none and what to do about it."""
        files = self._files(secret) if secret else {}
        if isinstance(files, NoData):
            return files
        signature = tuple(sorted(files.items()))
        kept = self._kept.get((url, secret))
        if kept is not None and kept.files == signature:
            return kept.reader
        made = self._made(url, secret, files)
        if isinstance(made, NoData):
            return made
        if kept is not None:
            await kept.reader.close()
        self._kept[url, secret] = _Kept(signature, made)
        return made

    async def close(self) -> None:
        """Close all connections."""
        for kept in self._kept.values():
            await kept.reader.close()
        self._kept.clear()

    def _files(self, secret: str) -> dict[str, str] | NoData:
        folder = self._folder / secret
        if "/" in secret or secret.startswith(".") or not folder.is_dir():
            return _refused(
                f"the Secret {secret} is not mounted into the operator: name it in "
                "prometheus.secrets of the chart"
            )
        found = {}
        for file in sorted(folder.iterdir()):
            if not file.name.startswith(".") and file.is_file():
                if file.stat().st_size > LARGEST_BYTES:
                    return _refused(f"the Secret {secret}: {file.name} is larger than 64 KiB")
                found[file.name] = file.read_text(encoding="utf-8", errors="replace").strip()
        return found

    def _made(self, url: str, secret: str, files: dict[str, str]) -> PrometheusReader | NoData:
        if secret and files.get("url", "").rstrip("/") != url.rstrip("/"):
            return _refused(f"the Secret {secret} is not for {url}: its key url must name this URL")
        headers = {}
        if files.get("token"):
            headers["Authorization"] = f"Bearer {files['token']}"
        elif files.get("username"):
            basic = httpx.BasicAuth(files["username"], files.get("password", ""))
            request = next(basic.auth_flow(httpx.Request("POST", url)))
            headers["Authorization"] = request.headers["Authorization"]
        verify: ssl.SSLContext | bool = True
        if files.get("ca.crt"):
            try:
                verify = ssl.create_default_context(cadata=files["ca.crt"])
            except (ssl.SSLError, ValueError):
                return _refused(f"the Secret {secret}: ca.crt holds no certificate in PEM")
        return PrometheusReader(
            url,
            files.get("orgId") or None,
            transport=self._transport,
            headers=headers,
            verify=verify,
            parsing=self._parsing,
        )


def _refused(detail: str) -> NoData:
    return NoData(NoDataReason.BACKEND_DOWN, detail, is_of_all=True)
