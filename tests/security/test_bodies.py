"""Nothing that is read from others makes the operator large or slow."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from tests.security.answers import Answer, Answers, bomb, serving
from tests.security.memory import grown

from trimtab.contract.location import AccessDenied, NotInStore, StoreUnavailable, open_location
from trimtab.telemetry.exposition import MalformedExpositionError, NotFiniteError, Parser
from trimtab.telemetry.port import NoData, NoDataReason, Target
from trimtab.telemetry.prometheus import PrometheusReader
from trimtab.telemetry.scrape import Scraper

MOST_MIB = 64.0
"""What one page or one document may cost; a scrape may read 4 MiB."""

SCRAPE = """
import asyncio, sys
from trimtab.telemetry.port import Target
from trimtab.telemetry.scrape import Scraper
async def scrape():
    scraper = Scraper()
    try:
        return await scraper.scrape(Target("a", "pod-a", "r1", sys.argv[1], 5.0))
    finally:
        await scraper.close()
"""
READ = """
import sys
from trimtab.telemetry.prometheus_answer import readings_of
body = eval(sys.argv[1]).encode()
"""
DOCUMENT = """
import hashlib, json, sys
from pathlib import Path
from trimtab.store.artifacts import read_documents
from trimtab.store.port import ArtifactBroken
folder = Path(sys.argv[2])
def listed(path, raw):
    (folder / path).write_bytes(raw)
    return {"path": path, "sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}
manifest = json.dumps({
    "format": "sklearn", "modelFile": "model.skops", "model": "m", "version": "v", "created": "",
    "files": [listed("model.skops", b""), listed("signature.json", eval(sys.argv[1]).encode())],
}).encode()
(folder / "manifest.json").write_bytes(manifest)
digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
"""
DOCUMENT_ATTACK = """
try:
    said = read_documents(f"file://{folder}", digest, None)
except ArtifactBroken as error:
    said = str(error)
"""


@pytest.fixture
def pages():
    with serving() as answers:
        yield answers


def target(pages: Answers, path: str = "/metrics") -> Target:
    return Target("a", "pod-a", "r1", pages.url + path, 5.0)


# --- pages of metrics ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip, gzip, gzip", "gzip", "br", "GZIP", "x-unknown"])
def test_a_page_of_a_kilobyte_that_unpacks_to_200_mib(pages: Answers, encoding: str) -> None:
    body = bomb()
    assert len(body) < 2_000
    pages.by_path["/metrics"] = Answer((body,), headers={"Content-Encoding": encoding})
    size, said = grown(SCRAPE, "said = asyncio.run(scrape())", f"{pages.url}/metrics")
    assert size < MOST_MIB
    assert "compressed" in said
    assert "turn compression off" in said


async def test_a_page_that_says_that_it_is_too_large_is_not_read(pages: Answers) -> None:
    pages.by_path["/metrics"] = Answer((b"",), headers={"Content-Length": "9" * 15}, pause=30)
    scraper = Scraper()
    began = time.monotonic()
    found = await scraper.scrape(target(pages))
    await scraper.close()
    assert found == NoData(NoDataReason.BACKEND_DOWN, "more than 4194304 bytes")
    assert time.monotonic() - began < 3


def test_pages_of_ever_new_long_lines_do_not_add_up() -> None:
    attack = """
parser = Parser()
for number in range(60):
    label = f"{number}-" + "x" * 1_000_000
    try:
        parser.parse("".join(f'other{{a="{label}{part}"}} 1\\n' for part in "abc"))
        said = "taken"
    except MalformedExpositionError as error:
        said = str(error)
"""
    prepared = "from trimtab.telemetry.exposition import MalformedExpositionError, Parser"
    size, said = grown(prepared, attack)
    assert size < MOST_MIB
    assert said == "line 1 has more than 4096 characters"


def test_what_is_remembered_of_pages_is_bounded_in_characters() -> None:
    attack = """
parser = Parser()
for number in range(40):
    page = (f'other{{a="{number}-{line}-{"x" * 4000}"}} 1' for line in range(1_000))
    parser.parse("\\n".join(page))
said = "read"
"""
    prepared = "from trimtab.telemetry.exposition import Parser"
    size, _ = grown(prepared, attack)  # 160 MB in all
    assert size < 2 * MOST_MIB


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("\n".join(f"trimtab_a{n} 1" for n in range(30_001)), id="series"),
        pytest.param(
            "trimtab_a{" + ",".join(f'l{n}="x"' for n in range(33)) + "} 1", id="labels_of_one"
        ),
        pytest.param("trimtab_a " + "9" * 5_000, id="a_number_of_5000_digits"),
    ],
)
def test_a_page_of_too_much_is_malformed(page: str) -> None:
    with pytest.raises(MalformedExpositionError):
        Parser().parse(page)


@pytest.mark.parametrize("value", ["1.7e308", "-1.7e308", "1e101"])
def test_a_counter_that_makes_sums_infinite_is_not_believed(value: str) -> None:
    with pytest.raises(NotFiniteError, match="trimtab_a"):
        Parser().parse(f"trimtab_a {value}")


# --- answers of Prometheus -----------------------------------------------------------------------


async def read(pages: Answers) -> object:
    reader = PrometheusReader(pages.url)
    try:
        return await reader.read("up[1ms]", ["a"])
    finally:
        await reader.close()


async def test_an_answer_of_prometheus_that_is_compressed(pages: Answers) -> None:
    pages.by_path["/api/v1/query"] = Answer((bomb(),), headers={"Content-Encoding": "gzip, gzip"})
    found = await read(pages)
    assert isinstance(found, NoData)
    assert "compressed" in found.detail


async def test_a_redirect_of_prometheus_is_not_followed(pages: Answers) -> None:
    pages.by_path["/api/v1/query"] = Answer(
        status=307, headers={"Location": f"{pages.url}/elsewhere"}
    )
    found = await read(pages)
    assert isinstance(found, NoData)
    assert "HTTP 307" in found.detail
    assert pages.asked == ["/api/v1/query"]


RESULT = '\'{"status":"success","data":{"resultType":"matrix","result":[\' + %s + \']}}\''


@pytest.mark.parametrize(
    ("result", "most"),
    [
        pytest.param('"[]," * 1_000_000 + "[]"', MOST_MIB, id="lists_for_series"),
        pytest.param('"[]," * 300_000 + "[]"', 2 * MOST_MIB, id="fewer_lists_for_series"),
        pytest.param(
            '\'{"metric":{},"values":[\' + \'[1,"1"],\' * 2_000_000 + \'[1,"1"]]}\'',
            MOST_MIB,
            id="samples",
        ),
        pytest.param(
            "'{\"metric\":{' + ','.join(f'\"{n:x}\":1' for n in range(2_000_000)) + '}}'",
            2 * MOST_MIB,
            id="labels_that_are_no_texts",
        ),
        pytest.param('"[" * 1_000_000', MOST_MIB, id="depth"),
        pytest.param('"[" * 100_000', MOST_MIB, id="less_depth"),
    ],
)
def test_a_small_answer_of_prometheus_does_not_become_large(result: str, most: float) -> None:
    size, said = grown(READ, 'said = readings_of(body, ["a"])', RESULT % result)
    assert size < most
    assert said.startswith("NoData(")


# --- documents of artifacts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            '\'{"task":"regression","inputs":[\' + "[]," * 2_000_000 + "[]]}"', id="lists"
        ),
        pytest.param(
            '\'{"task":"regression","inputs":[\' + "[]," * 49_000 + "[]]}"', id="fewer_lists"
        ),
        pytest.param(
            '\'{"task":"regression","inputs":[\' + "1," * 3_900_000 + "1]}"', id="numbers"
        ),
        pytest.param(
            '\'{"task":"regression","inputs":[\' + "1," * 900_000 + "1]}"', id="fewer_numbers"
        ),
        pytest.param('"[" * 3_000_000', id="depth"),
    ],
)
def test_a_document_does_not_become_large(document: str, tmp_path: Path) -> None:
    size, said = grown(DOCUMENT, DOCUMENT_ATTACK, document, str(tmp_path))
    assert size < MOST_MIB
    assert said.startswith("signature.json")


# --- https ---------------------------------------------------------------------------------------


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(tmp_path) as answers:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        yield answers


def test_a_file_over_https_is_read(https: Answers, tmp_path: Path) -> None:
    modified = {"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}
    https.by_path["/m/v%201/x.json"] = Answer((b"abc", b"def"), headers=modified)
    folder = open_location(f"{https.url}/m/v%201/")
    assert folder.get("x.json", 6) == b"abcdef"
    assert folder.head("x.json").modified.isoformat() == "2026-11-02T10:00:00+00:00"
    folder.fetch("x.json", tmp_path / "x", 6)
    assert (tmp_path / "x").read_bytes() == b"abcdef"
    with pytest.raises(NotInStore):
        folder.get("y.json", 6)


def test_a_redirect_is_not_followed(https: Answers) -> None:
    https.by_path["/m/x"] = Answer(status=302, headers={"Location": "/elsewhere"})
    https.by_path["/elsewhere"] = Answer((b"secret",))
    with pytest.raises(StoreUnavailable, match="redirects are not followed"):
        open_location(f"{https.url}/m").get("x", 10)
    assert https.asked == ["/m/x"]


def test_a_drop_now_and_then_does_not_hold_a_request_open(https: Answers, tmp_path: Path) -> None:
    https.by_path["/m/x"] = Answer(tuple(b"x" * 1000 for _ in range(100)), pause=0.05)
    folder = open_location(f"{https.url}/m", within=timedelta(seconds=0.4))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"did not end in time|timed out"):
        folder.get("x", 1_000_000)
    assert time.monotonic() - began < 3


def test_a_compressed_file_is_not_unpacked(https: Answers) -> None:
    https.by_path["/m/x"] = Answer((bomb(),), headers={"Content-Encoding": "gzip"})
    with pytest.raises(StoreUnavailable, match="compressed"):
        open_location(f"{https.url}/m").get("x", 10_000)


def test_another_s_certificate_is_not_taken(tmp_path: Path) -> None:
    with serving(tmp_path) as answers, pytest.raises(StoreUnavailable, match="CERTIFICATE"):
        open_location(f"{answers.url}/m").get("x", 10)


def test_a_closed_door_says_so(https: Answers) -> None:
    https.by_path["/m/x"] = Answer(status=403)
    with pytest.raises(AccessDenied):
        open_location(f"{https.url}/m").get("x", 10)
