"""The text format is read as prometheus_client reads it, and garbage is told from NaN."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.exposition import (
    MalformedExpositionError,
    NotFiniteError,
    Parser,
)


def theirs(text: str) -> dict[SeriesKey, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("trimtab_")
    }


def registry_text(class_names: list[str]) -> str:
    registry = CollectorRegistry()
    predicted = Counter("trimtab_predicted", "rows", ["class", "digest"], registry=registry)
    for number, name in enumerate(class_names):
        predicted.labels(**{"class": name, "digest": "sha256:ab"}).inc(number + 0.25)
    seconds = Histogram("trimtab_other_seconds", "s", registry=registry)
    seconds.observe(0.3)
    Gauge("process_start_time_seconds", "s", registry=registry).set(1.7e9)
    Gauge("python_info", "foreign", ["a"], registry=registry).labels("NaN {} = \\").set(math.nan)
    return generate_latest(registry).decode()


@given(st.lists(st.text(min_size=1, max_size=8), max_size=5, unique=True))
@settings(max_examples=60, deadline=None)
def test_reads_what_prometheus_client_writes(class_names: list[str]) -> None:
    text = registry_text([name.replace("\r", "") + "." for name in dict.fromkeys(class_names)])
    parser = Parser()
    for _ in range(2):  # the second time from memory
        found = parser.parse(text)
        assert found.values == theirs(text)
        assert found.process_start == 1.7e9


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        pytest.param("trimtab_a 1", {}, 1, id="plain"),
        pytest.param("trimtab_a{} 1", {}, 1, id="empty_braces"),
        pytest.param('trimtab_a{b="c",} 1', {"b": "c"}, 1, id="trailing_comma"),
        pytest.param('trimtab_a{b="c", d="e"}  1.5e3', {"b": "c", "d": "e"}, 1500, id="spaces"),
        pytest.param('trimtab_a{b="c"} 1 1700000000000', {"b": "c"}, 1, id="timestamp"),
        pytest.param('trimtab_a{b="}, \\"\\\\\\n"} 2', {"b": '}, "\\\n'}, 2, id="escapes"),
        pytest.param("trimtab_a\t1\r", {}, 1, id="tab_and_carriage_return"),
        pytest.param("# HELP x\n\n  \ntrimtab_a -1", {}, -1, id="comments_and_blanks"),
    ],
)
def test_accepted(line: str, labels: dict[str, str], value: float) -> None:
    parser = Parser()
    for _ in range(2):
        assert parser.parse(line).values == {("trimtab_a", frozenset(labels.items())): value}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<html>", id="html"),
        pytest.param('{"trimtab_a": 1}', id="json"),
        pytest.param("trimtab_a", id="no_value"),
        pytest.param("trimtab_a one", id="word"),
        pytest.param("trimtab_a 1_000", id="python_number"),
        pytest.param("trimtab_a 0x10", id="hexadecimal"),
        pytest.param("trimtab_a 1 2 3", id="too_much"),
        pytest.param('trimtab_a{b="c" 1', id="open_brace"),
        pytest.param("trimtab_a{b=c} 1", id="no_quotes"),
        pytest.param('trimtab_a{b="c" d="e"} 1', id="no_comma"),
        pytest.param('trimtab_a{b="c",b="d"} 1', id="label_twice"),
        pytest.param('trimtab_a{b="\\x"} 1', id="bad_escape"),
        pytest.param("foreign one", id="foreign_garbage"),
        pytest.param("trimtab_a 1\ntrimtab_a 2", id="series_twice"),
        pytest.param("trimtab_a 1\ntrimtab_b 1\ntrimtab_c 1\ntrimtab_d 1", id="too_many"),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(MalformedExpositionError):
        Parser(max_series=3).parse(text)


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(MalformedExpositionError, match="UTF-8"):
        Parser().parse_bytes(b"trimtab_a\xff 1")


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "nan", "1e999"])
def test_not_a_number_is_told_from_garbage(value: str) -> None:
    parser = Parser()
    parser.parse("trimtab_a 1")
    with pytest.raises(NotFiniteError, match="trimtab_a"):
        parser.parse(f"trimtab_a {value}")


@pytest.mark.parametrize(
    "line",
    [
        'trimtab_score_bin_sum_total{digest="d"} -1e30',
        'trimtab_outcome_errors_sum{digest="d"} 1e60',
        'trimtab_outcome_errors_squares_total{digest="d"} 1e99',
        'trimtab_requests_total{digest="d"} 9007199254740992',
    ],
)
def test_sums_may_be_larger_than_what_is_counted(line: str) -> None:
    (value,) = Parser().parse(line).values.values()
    assert value == float(line.rpartition(" ")[2])


@pytest.mark.parametrize(
    "line",
    [
        'trimtab_requests_total{digest="d"} 9007199254740994',
        'trimtab_request_seconds_count{digest="d"} 1e50',
        'trimtab_outcome_errors_sum{digest="d"} 1e101',
    ],
)
def test_what_is_too_large_to_count_with_is_not_a_number(line: str) -> None:
    with pytest.raises(NotFiniteError, match=r"trimtab_.* is [19]"):
        Parser().parse(line)


def test_foreign_numbers_are_nobodys_business() -> None:
    assert Parser().parse("go_gc NaN\nprocess_start_time_seconds 5").process_start == 5


@given(st.text(max_size=200))
@settings(max_examples=150)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        Parser().parse(text)
    except (MalformedExpositionError, NotFiniteError):
        return


def test_the_largest_page_of_the_contract_fits() -> None:
    identity = f'model="{"m" * 40}",version="{"v" * 20}",digest="{"d" * 71}",baseline="{"b" * 71}"'
    lines = [
        f'trimtab_feature_bin_total{{{identity},feature="{"f" * 30}{number // 85}",'
        f'bin="{number % 85}"}} {number}'
        for number in range(17_000)
    ]
    assert len(Parser().parse("\n".join(lines)).values) == 17_000


def test_labels_without_end_are_refused() -> None:
    many = ",".join(f'l{number}="x"' for number in range(13))
    with pytest.raises(MalformedExpositionError, match="not Prometheus text"):
        Parser().parse(f"trimtab_a{{{many}}} 1")
    long = "\n".join(f'trimtab_a{{b="{number}{"x" * 3000}"}} 1' for number in range(10_000))
    with pytest.raises(MalformedExpositionError, match="too many or too long labels"):
        Parser().parse(long)
