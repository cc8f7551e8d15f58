"""A tiny S3 on loopback: enough of GET, HEAD, PUT and list, with faults on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class S3:
    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    fail_next: list[int] = field(default_factory=list)
    """Status codes with which the next requests are answered."""
    refuse: tuple[int, str] | None = None
    """Status and S3 code with which all requests are answered; HEAD gets no body."""
    break_after: list[int] = field(default_factory=list)
    """Body bytes after which the next GETs drop the connection."""


@contextmanager
def s3_server() -> Iterator[S3]:
    state = S3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _path(self) -> str:
            return unquote(urlsplit(self.path).path)

        def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _fault(self) -> bool:
            state.requests.append(
                (self.command, self.path, self.headers.get("Authorization") or "")
            )
            if state.fail_next:
                self._answer(state.fail_next.pop(0))
                return True
            if state.refuse:
                code = f"<Error><Code>{state.refuse[1]}</Code><Message>No.</Message></Error>"
                self._answer(state.refuse[0], f'<?xml version="1.0"?>\n{code}'.encode())
                return True
            return False

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self._fault():
                return
            if self.headers.get("If-None-Match") == "*" and self._path() in state.objects:
                self._answer(412)
                return
            state.objects[self._path()] = body
            self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

        def do_GET(self) -> None:
            if self._fault():
                return
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query:
                self._list(query.get("prefix", [""])[0])
                return
            body = state.objects.get(self._path())
            if body is None:
                self._answer(404)
                return
            headers = {
                "ETag": f'"{hashlib.md5(body).hexdigest()}"',
                "Last_Modified": "Mon, 02 Nov 2026 10:00:00 GMT",
            }
            start = self.headers.get("Range")
            if start:
                first, last = start.removeprefix("bytes=").split("-")
                end = int(last) if last else len(body) - 1
                headers["Content_Range"] = f"bytes {first}-{end}/{len(body)}"
                body = body[int(first) : end + 1]
            if state.break_after and self.command == "GET":
                self._break(body, state.break_after.pop(0), headers)
                return
            self._answer(206 if start else 200, body, **headers)

        do_HEAD = do_GET

        def _break(self, body: bytes, after: int, headers: dict[str, str]) -> None:
            self.send_response(206 if "Content_Range" in headers else 200)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

        def _list(self, prefix: str) -> None:
            bucket = self._path().strip("/")
            rows = "".join(
                f"<Contents><Key>{escape(path[len(bucket) + 2 :])}</Key>"
                f"<LastModified>2026-11-02T10:00:00.000Z</LastModified>"
                f"<ETag>x</ETag><Size>{len(body)}</Size></Contents>"
                for path, body in sorted(state.objects.items())
                if path.startswith(f"/{bucket}/{prefix}")
            )
            self._answer(
                200,
                f"<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>"
                f"{rows}</ListBucketResult>".encode(),
                Content_Type="application/xml",
            )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
