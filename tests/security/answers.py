"""Servers that answer what an attacker wants, over plain HTTP and over TLS."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Answer:
    """One answer. pieces: the body as it is sent; pause: seconds before each further piece."""

    pieces: tuple[bytes, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


@dataclass
class Answers:
    """Answers by path, the same to GET, HEAD and POST."""

    url: str = ""
    by_path: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


def bomb(layers: int = 3, size: int = 200 << 20) -> bytes:
    """Return zeros in gzip in gzip in gzip: a kilobyte that becomes `size` bytes."""
    pages = gzip.compress(bytes(1 << 20), 9)
    body = b"".join(pages for _ in range(size >> 20))
    for _ in range(layers - 1):
        body = gzip.compress(body, 9)
    return body


@contextlib.contextmanager
def serving(folder: Path | None = None) -> Iterator[Answers]:
    """Answer on loopback; with a folder over TLS, by a certificate that is made there."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            answers.asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers.by_path.get(self.path, Answer(status=404))
            self.send_response(answer.status)
            length = {"Content-Length": str(sum(map(len, answer.pieces)))}
            for name, value in (length | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            with contextlib.suppress(OSError):
                for piece in answer.pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    if answer.pause and answers.over.wait(answer.pause):
                        return

        do_POST = do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if folder is not None:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(make_certificate(folder), folder / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    answers.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield answers
    finally:
        answers.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def make_certificate(folder: Path) -> Path:
    """Make key.pem and cert.pem for loopback; return the certificate."""
    certificate = folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", folder / "key.pem", "-out", certificate, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return certificate
