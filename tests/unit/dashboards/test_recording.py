"""Recordings, the queries of dashboards, and what the lock file and the demo's Prometheus hold."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import yaml
from tests.dashboards.boards import ALL, Board, filled, names_in
from tests.dashboards.built import PAGE
from tests.dashboards.recorded import MOST_BYTES, RECORDING
from tests.dashboards.server import (
    Recording,
    Series,
    Server,
    read_recording,
    record,
    write_recording,
)
from tests.demo.watch import EXAMPLE, configuration, found_as


class TestRecording:
    def test_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        recording = Recording('a_total{b="c"} 1 100.000\n# EOF\n', 90, 110)
        write_recording(recording, tmp_path / "one.gz")
        assert read_recording(tmp_path / "one.gz") == recording
        first = (tmp_path / "one.gz").read_bytes()
        write_recording(recording, tmp_path / "one.gz")
        assert (tmp_path / "one.gz").read_bytes() == first

    def test_without_a_time_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "two.gz").write_bytes(gzip.compress(b"a 1\n"))
        with pytest.raises(ValueError, match=r"two\.gz: the first line"):
            read_recording(tmp_path / "two.gz")

    def test_labels_are_quoted_and_times_kept(self) -> None:
        class Prometheus(Server):
            def query(self, expr: str, at: float) -> list[Series]:
                assert (expr, at) == ("a[10s]", 20)
                labels = {"__name__": "a", "z": 'say "hi"', "b": "ü\n"}
                return [Series(labels, [(11.5, 0.125), (16.5, 1e9)])]

        text = record(Prometheus(""), ["a"], 10, 20).text
        head = 'a{b="ü\\n",z="say \\"hi\\""}'
        assert text == f"{head} 0.125 11.500\n{head} 1000000000 16.500\n# EOF\n"

    def test_without_rules(self) -> None:
        text = "a 1 1\nnamespace:a 1 1\nnamespace_name:a:b 1 1\n# EOF\n"
        assert Recording(text, 0, 1).without(r"namespace\w*:").text == "a 1 1\n# EOF\n"

    def test_that_is_kept_is_small_and_has_no_traces_of_a_machine(self) -> None:
        assert RECORDING.stat().st_size < MOST_BYTES
        text = read_recording(RECORDING).text
        assert "trimtab_deployment_info{" in text
        assert not re.search(r"/root|/home|/tmp", text)


BOARD = Board(
    Path("a.json"),
    {
        "panels": [
            {"type": "stat", "targets": [{"expr": "sum(rate(a_total[1m]))"}]},
            {"type": "row", "panels": [{"type": "stat", "targets": [{"expr": "b"}]}]},
        ],
        "annotations": {"list": [{"expr": "c > 0"}]},
        "templating": {
            "list": [
                {"name": "namespace", "query": {"query": "label_values(d, namespace)"}},
                {"name": "name", "includeAll": True, "current": {"value": ALL}},
            ]
        },
    },
)


class TestQueries:
    def test_all_that_is_asked_is_found(self) -> None:
        known = ["a_total", "b", "c", "d", "not_asked"]
        assert names_in(BOARD.queries, known) == ["a_total", "b", "c", "d"]

    def test_a_variable_of_all_is_left_alone(self) -> None:
        chosen = BOARD.chosen({"namespace": "shop", "name": "digits"})
        assert chosen == {"namespace": "shop"}
        assert BOARD.values(chosen) == {"namespace": "shop", "name": ".*"}

    def test_variables_take_their_place(self) -> None:
        expr = 'a{b="$b",c=~"${b:regex}",d="$1"}[$__rate_interval] offset $__range > $__from'
        filled_in = filled(expr, {"b": "x"}, 5, 100, 160)
        assert filled_in == 'a{b="x",c=~"x",d="$1"}[20s] offset 60s > 100000'
        with pytest.raises(KeyError):
            filled("$nobody", {}, 5, 0, 1)


LOCK = json.loads((PAGE / "package-lock.json").read_text())
WANTED = json.loads((PAGE / "package.json").read_text())


class TestLockFile:
    def test_every_package_is_pinned(self) -> None:
        asked = WANTED["dependencies"] | WANTED["devDependencies"]
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in asked.values())
        locked = LOCK["packages"][""]
        assert locked["dependencies"] | locked["devDependencies"] == asked
        assert all("integrity" in one for name, one in LOCK["packages"].items() if name)

    def test_no_registry_is_named(self) -> None:
        assert not any("resolved" in one for one in LOCK["packages"].values())
        assert "registry" not in json.dumps(LOCK)

    def test_no_licence_that_we_may_not_use(self) -> None:
        for name, one in LOCK["packages"].items():
            assert "AGPL" not in str(one.get("license", "")), name


POD = {
    "metadata": {
        "name": "digits-1",
        "namespace": "shop",
        "labels": {"app.kubernetes.io/managed-by": "trimtab"},
    },
    "spec": {
        "containers": [
            {"name": "model", "ports": [{"name": "metrics", "containerPort": 9090}]},
            {"name": "aside"},
        ]
    },
    "status": {"podIP": "10.79.0.9", "phase": "Running"},
}


class TestDemo:
    def test_pods_are_found_as_the_discovery_finds_them(self) -> None:
        (found,) = found_as([POD, {**POD, "status": {"phase": "Pending"}}])
        assert found["targets"] == ["10.79.0.9:9090"]
        labels = found["labels"]
        assert labels["__meta_kubernetes_pod_label_app_kubernetes_io_managed_by"] == "trimtab"
        assert labels["__meta_kubernetes_pod_container_port_name"] == "metrics"
        assert labels["__meta_kubernetes_namespace"] == "shop"

    def test_the_example_is_kept_but_for_where_pods_come_from(self) -> None:
        example = yaml.safe_load(EXAMPLE.read_text())
        made = configuration(EXAMPLE.read_text())
        for theirs, ours in zip(example["scrape_configs"], made["scrape_configs"], strict=True):
            assert ours["job_name"] == theirs["job_name"]
            assert (
                ours["relabel_configs"][-len(theirs["relabel_configs"]) :]
                == (theirs["relabel_configs"])
            )
            assert "kubernetes_sd_configs" not in ours
        assert made["rule_files"] == example["rule_files"]

    def test_the_example_narrows_what_is_found(self) -> None:
        jobs = {
            job["job_name"]: job for job in configuration(EXAMPLE.read_text())["scrape_configs"]
        }
        assert jobs["trimtab"]["relabel_configs"][0] == {
            "source_labels": ["__meta_kubernetes_namespace"],
            "regex": "trimtab-system",
            "action": "keep",
        }
        assert jobs["trimtab-pods"]["relabel_configs"][0] == {
            "source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_managed_by"],
            "regex": "trimtab",
            "action": "keep",
        }
