"""A container whose series are new at every scrape: its page is valid, its cost is bounded.

512 MiB are what the operator has by default; the rest of it takes some 150.
"""

from __future__ import annotations

import pytest
from tests.security.memory import grown

MOST_MIB = 160

PREPARED = """
import random, string, sys
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.exposition import MalformedExpositionError, Parser
from trimtab.telemetry.port import Target
from trimtab.telemetry.windows import WindowStore
draws = random.Random(1)
labels, name, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
end, long, scrapes = (" 1700000000000", "x" * 2_500, 150) if size < 5_000 else ("", "", 12)
store, windows, parser = CounterStore(), WindowStore(), Parser()
store.set_targets("a/b", [Target("p", "pod", "r", "")], 0.0)
windows.watch("a/b", 10.0)
def page():
    lines, left = [], 4 << 20
    while left > 0:
        texts = (f'l{n}="{draws.getrandbits(32):x}{long}"' for n in range(labels))
        head = f'{name}{{baseline="{draws.getrandbits(2)}",{",".join(texts)}}}'
        lines.append(f"{head} {draws.randrange(9)}{end}")
        left -= len(lines[-1]) + 1
        if len(lines) == size:
            break
    return "\\n".join(lines)
refused = 0
"""
ATTACK = """
for scrape in range(scrapes):
    try:
        sample = parser.parse(page())
    except MalformedExpositionError as error:
        refused += 1
        continue
    windows.add("a/b", store.record("a/b", "p", sample, 5.0 * scrape), 5.0 * scrape)
said = refused
"""
CHANGING = """
from trimtab.contract.identity import Identifier
identifier = Identifier()
for scrape in range(60):
    info = f'trimtab_model_info{{model="m",version="v",digest="{"d" * 2000}{scrape}"}} 1'
    lines = (f'trimtab_requests_total{{model="m",version="v",code="{n}"}} 1' for n in range(size))
    sample = parser.parse("\\n".join([info, *lines]))
    identifier.of(sample.values)
    store.record("a/b", "p", sample, 5.0 * scrape)
said = len(sample.values)
"""
RESTARTS = """
for scrape in range(12):
    store.set_targets("a/b", [Target(f"p{scrape}", "pod", "r", "")], 5.0 * scrape)
    store.record("a/b", f"p{scrape}", parser.parse(page()), 5.0 * scrape)
said = store.losses("a/b").terminations
"""


def test_processes_that_restart_for_ever_cost_little() -> None:
    mib, told = grown(PREPARED, RESTARTS, "10", "trimtab_x_total", "6000")
    assert told == "12"
    assert mib < MOST_MIB


def test_a_version_that_has_another_digest_at_each_scrape_costs_little() -> None:
    mib, told = grown(PREPARED, CHANGING, "1", "-", "6000")
    assert told == "6001"
    assert mib < MOST_MIB


@pytest.mark.parametrize(
    ("labels", "name", "series"),
    [
        pytest.param(30, "trimtab_x_total", 19_000, id="many_labels"),
        pytest.param(10, "trimtab_x_total", 19_000, id="few_labels"),
        pytest.param(10, "trimtab_x_total", 6_000, id="few_labels_that_fit"),
        pytest.param(1, "trimtab_x_total", 1_500, id="long_ones_with_times"),
        pytest.param(2, "trimtab_feature_bin_total", 19_000, id="in_windows"),
        pytest.param(30, "other", 60_000, id="of_others"),
    ],
)
def test_series_that_are_always_new_cost_little(labels: int, name: str, series: int) -> None:
    mib, _ = grown(PREPARED, ATTACK, str(labels), name, str(series))
    assert mib < MOST_MIB
