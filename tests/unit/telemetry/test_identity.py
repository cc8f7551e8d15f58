"""Pages that say digests once are read as those that say them on each series."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.contract import metrics
from trimtab.contract.identity import MOST_VERSIONS, ContradictoryIdentity, Identifier
from trimtab.contract.metrics import MODEL_INFO, OF_VERSIONS
from trimtab.telemetry.exposition import (
    MAX_NEW_BYTES,
    MalformedExpositionError,
    Parser,
    UnidentifiedError,
)
from trimtab.telemetry.port import NoData, NoDataReason
from trimtab.telemetry.prometheus_answer import Readings, readings_of

STARTED = 'trimtab_requests_started_total{model="m",version="v"} 5'


def info(**labels: str) -> str:
    own = {"model": "m", "version": "v", "digest": "d", "baseline": "b"} | labels
    inside = ",".join(f'{label}="{text}"' for label, text in own.items())
    return f"trimtab_model_info{{{inside}}} 1"


INFO = info()
Series = tuple[str, dict[str, str], int]


@dataclass(frozen=True)
class Drawn:
    """What a pod has: versions by name with their digests, and series of them."""

    versions: list[dict[str, str]]
    series: list[Series]

    def told(self, *, is_whole: bool) -> list[Series]:
        """All series of the page; is_whole: each with its digests, as pods wrote them before."""
        first: dict[tuple[str, str], dict[str, str]] = {}
        for version in self.versions:
            first.setdefault((version["model"], version["version"]), version)
        infos: list[Series] = [(MODEL_INFO, version, 1) for version in first.values()]
        found = []
        for name, labels, value in self.series:
            explained = first[labels["model"], labels["version"]]
            is_short = not is_whole and explained.items() <= labels.items()
            left_out = ("digest", "baseline") if is_short else ()
            kept = {label: text for label, text in labels.items() if label not in left_out}
            found.append((name, kept, value))
        return [*found, *infos]


names = st.sampled_from(["a", "b", 'q"\\\n', "é", "v1"])
versions = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "n"]),
        "version": names,
        "digest": st.sampled_from(["sha256:1", "sha256:2", "sha256:3"]),
        "baseline": st.sampled_from(["sha256:8", "sha256:9"]),
    }
)


@st.composite
def pods(draw: st.DrawFn) -> Drawn:
    known = draw(st.lists(versions, min_size=1, max_size=4))
    labels = {
        metrics.OUTCOMES: ("predicted", "actual"),
        metrics.FEATURE_BIN: ("feature", "bin"),
        metrics.REQUESTS: ("code",),
        metrics.PAIRED_REQUESTS: ("against", "difference"),
    }
    series: dict[tuple[str, frozenset[tuple[str, str]]], Series] = {}
    for _ in range(draw(st.integers(0, 8))):
        name = draw(st.sampled_from(sorted(labels)))
        own = draw(st.sampled_from(known)) | {label: draw(names) for label in labels[name]}
        series[name, frozenset(own.items())] = name, own, draw(st.integers(0, 9))
    return Drawn(known, list(series.values()))


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def page(series: list[Series]) -> str:
    lines = []
    for name, labels, value in series:
        inside = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value}")
    return "\n".join([*lines, "process_start_time_seconds 7", ""])


def matrix(scrapes: list[list[Series]], *, is_one_life: bool = False) -> bytes:
    """What Prometheus says of one pod that was scraped every 15 s, and mostly began anew."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[int, str]]] = {}
    for at, series in enumerate(scrapes):
        start: Series = (metrics.PROCESS_START, {}, 1 if is_one_life else 1 + 15 * at)
        for name, labels, value in [*series, start]:
            found.setdefault((name, frozenset(labels.items())), []).append((15 * at, str(value)))
    result = [
        {"metric": {"__name__": name, "pod": "p", "job": "j", **dict(labels)}, "values": values}
        for (name, labels), values in found.items()
    ]
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


def readings(scrapes: list[list[Series]], *, is_one_life: bool = False) -> Readings:
    found = readings_of(matrix(scrapes, is_one_life=is_one_life), ["p"])
    assert not isinstance(found, NoData)
    return found


@given(st.lists(st.tuples(pods(), st.randoms(use_true_random=False)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_page_is_read_as_one_with_digests_on_all_series(
    drawn: list[tuple[Drawn, object]],
) -> None:
    before, parser = Parser(), Parser()
    for pod, shuffled in [*drawn, *drawn]:  # the second time from memory
        told = pod.told(is_whole=False)
        shuffled.shuffle(told)  # type: ignore[attr-defined]
        assert parser.parse(page(told)) == before.parse(page(pod.told(is_whole=True)))


@given(st.lists(pods(), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_samples_of_a_backend_are_read_as_those_with_digests(lives: list[Drawn]) -> None:
    told = [pod.told(is_whole=False) for pod in lives]
    assert readings(told) == readings([pod.told(is_whole=True) for pod in lives])


@given(pods())
@settings(max_examples=50, deadline=None)
def test_a_page_and_a_backend_say_the_same(pod: Drawn) -> None:
    told = pod.told(is_whole=False)
    (found,) = readings([told])["p"]  # type: ignore[misc]
    assert found.sample.values == Parser().parse(page(told)).values


def test_one_page_explains_no_series_of_another() -> None:
    parser = Parser()
    other = info(digest="e")
    for told, digest in ((INFO, "d"), (other, "e"), (INFO, "d")):
        (key,) = (k for k in parser.parse(f"{STARTED}\n{told}").values if k[0] != MODEL_INFO)
        assert ("digest", digest) in key[1]
    with pytest.raises(UnidentifiedError):
        parser.parse(STARTED)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(STARTED, id="no_info"),
        pytest.param(f"{STARTED}\n{info(version='w')}", id="info_of_another_version"),
        pytest.param(f"{STARTED}\n{info(model='n')}", id="info_of_another_model"),
        pytest.param(f"{STARTED}\n{info(digest='')}", id="info_without_digest"),
        pytest.param(f"{INFO}\ntrimtab_requests_started_total 5", id="series_without_version"),
        pytest.param(f"{STARTED}\n# {INFO}", id="info_in_a_comment"),
        pytest.param(f"{STARTED}\n{INFO.replace('info', 'information', 1)}", id="another_metric"),
    ],
)
def test_what_nothing_explains_is_no_data_that_says_what_to_export(text: str) -> None:
    with pytest.raises(UnidentifiedError, match="export trimtab_model_info with model"):
        Parser().parse(text)


def test_what_the_contract_does_not_know_needs_no_digest() -> None:
    assert len(Parser().parse("trimtab_mine 1").values) == 1


def test_every_name_of_the_contract_is_of_a_version_but_two() -> None:
    known = {value for value in vars(metrics).values() if isinstance(value, str)}
    known = {value for value in known if value.startswith(("trimtab_", "process_"))}
    known -= set(metrics.HISTOGRAMS)
    assert known - OF_VERSIONS == {MODEL_INFO, metrics.PROCESS_START}


class TestAPageThatLies:
    def test_two_digests_of_one_version(self) -> None:
        with pytest.raises(MalformedExpositionError, match="two things of version 'v'"):
            Parser().parse(f"{STARTED}\n{INFO}\n{info(digest='e')}")

    def test_two_baselines_of_one_version(self) -> None:
        with pytest.raises(MalformedExpositionError, match="two things of version 'v'"):
            Parser().parse(f"{INFO}\n{info(baseline='c')}")

    def test_a_series_with_its_digest_and_without_it(self) -> None:
        whole = STARTED.replace("}", ',digest="d",baseline="b"}')
        with pytest.raises(MalformedExpositionError, match="twice"):
            Parser().parse(f"{STARTED}\n{whole}\n{INFO}")

    def test_versions_without_end(self) -> None:
        infos = [info(version=f"v{n}") for n in range(MOST_VERSIONS + 1)]
        assert len(Parser().parse("\n".join(infos[1:])).values) == MOST_VERSIONS
        with pytest.raises(MalformedExpositionError, match="more than 64 series"):
            Parser().parse("\n".join(infos))

    def test_digests_without_end(self) -> None:
        series = (
            f'trimtab_requests_total{{model="m",version="v",code="{n}"}} 1' for n in range(19)
        )
        long = info(digest="d" * 3900)
        found = Parser().parse("\n".join([long, *series]))
        assert len(found.values) == 20
        with pytest.raises(MalformedExpositionError, match="characters"):
            Parser().parse(info(digest="d" * 4100))

    def test_new_digests_at_each_scrape_are_forgotten(self) -> None:
        parser = Parser()
        lines = [f'{STARTED[:-3]},l="{n}"}} 1'.replace("started_", "") for n in range(2_000)]
        for scrape in range(60):
            parser.parse("\n".join([info(digest=str(scrape)), *lines]))
        assert parser._spent < 3 * MAX_NEW_BYTES


class TestABackend:
    def test_a_scrape_whose_info_has_not_arrived_waits(self) -> None:
        whole = {"model": "m", "version": "v", "digest": "d", "baseline": "b"}
        short = {"model": "m", "version": "v"}
        info, started = (MODEL_INFO, whole, 1), ("trimtab_requests_started_total", short, 5)
        found = readings([[info, started], [started]], is_one_life=True)["p"]
        assert not isinstance(found, NoData)
        assert [one.at for one in found] == [0]
        again = readings_of(
            matrix([[info, started], [started]], is_one_life=True), ["p"], {"p": found[0]}
        )
        assert again == {"p": ()}

    @pytest.mark.parametrize("scrapes", [1, 3])
    def test_no_info_at_all_is_no_series(self, scrapes: int) -> None:
        started = ("trimtab_requests_started_total", {"model": "m", "version": "v"}, 5)
        found = readings([[started]] * scrapes)["p"]
        assert isinstance(found, NoData)
        assert found.reason is NoDataReason.NO_SERIES
        assert "export trimtab_model_info" in found.detail

    def test_two_digests_of_one_version_are_nothing_to_believe(self) -> None:
        infos = [
            (MODEL_INFO, {"model": "m", "version": "v", "digest": digest, "baseline": "b"}, 1)
            for digest in "de"
        ]
        found = readings([infos])["p"]
        assert isinstance(found, NoData)
        assert "two things of version 'v'" in found.detail

    def test_a_digest_that_the_scrape_configuration_adds_is_not_the_pods(self) -> None:
        whole = {"model": "m", "version": "v", "exported_digest": "d", "baseline": "b"}
        info = (MODEL_INFO, {**whole, "digest": "of an image"}, 1)
        short = {"model": "m", "version": "v", "digest": "of an image"}
        (found,) = readings([[info, ("trimtab_requests_started_total", short, 5)]])["p"]  # type: ignore[misc]
        assert all(("digest", "d") in labels for _, labels in found.sample.values)

    def test_a_container_that_began_anew_with_other_bytes_is_another(self) -> None:
        def life(digest: str, value: int) -> list[Series]:
            version = {"model": "m", "version": "v"}
            whole = {**version, "digest": digest, "baseline": "b"}
            return [(MODEL_INFO, whole, 1), ("trimtab_requests_started_total", version, value)]

        first, second = readings([life("d", 5), life("e", 2)])["p"]  # type: ignore[misc]
        for found, digest in ((first, "d"), (second, "e")):
            assert all(("digest", digest) in labels for _, labels in found.sample.values)


def test_an_identifier_refuses_two_series_that_become_one() -> None:
    short = frozenset({("model", "m"), ("version", "v")})
    whole = short | {("digest", "d"), ("baseline", "b")}
    values = {
        (MODEL_INFO, whole): 1.0,
        (metrics.REQUESTS, whole): 1.0,
        (metrics.REQUESTS, short): 2.0,
    }
    with pytest.raises(ContradictoryIdentity, match="with its digest and without"):
        Identifier().of(values)
