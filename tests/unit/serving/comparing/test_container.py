"""Memory and CPU of the container, read from files as kernels write them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.patience import Limit

from trimtab.serving.comparing.container import Container, memory_needed, reserve
from trimtab.serving.comparing.marker import Marker

MIB = 1 << 20
V2 = {
    "memory.max": f"{256 * MIB}",
    "memory.current": f"{150 * MIB}",
    "memory.stat": f"anon 1\ninactive_file {30 * MIB}\n",
    "cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 4\n",
}
V1 = {
    "memory/memory.limit_in_bytes": f"{256 * MIB}",
    "memory/memory.usage_in_bytes": f"{150 * MIB}",
    "memory/memory.stat": f"inactive_file 0\ntotal_inactive_file {30 * MIB}\n",
    "cpu/cpu.stat": "nr_periods 9\nnr_throttled 4\n",
}


def container(folder: Path, files: dict[str, str], available_mib: int = 8000) -> Container:
    for name, text in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(text + "\n")
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(
        f"MemTotal: 9000000 kB\nMemAvailable: {available_mib * 1024} kB\n"
    )
    (folder / "proc/self/status").write_text("VmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n")
    return Container(folder / "groups", folder / "proc")


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_what_is_left_of_the_limit(tmp_path: Path, files: dict[str, str]) -> None:
    found = container(tmp_path, files)
    assert found.memory_limit() == 256 * MIB
    assert found.memory_left() == 136 * MIB
    assert found.throttled() == 4
    assert (found.resident(), found.most_resident()) == (MIB, 2 * MIB)


@pytest.mark.parametrize(
    "files",
    [V2 | {"memory.max": "max"}, V1 | {"memory/memory.limit_in_bytes": f"{2**63 - 4096}"}, {}],
    ids=["v2", "v1", "nothing"],
)
def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path, files: dict[str, str]) -> None:
    found = container(tmp_path, files, available_mib=700)
    assert found.memory_limit() is None
    assert found.memory_left() == 700 * MIB


def test_a_machine_that_is_full_counts_whatever_the_limit(tmp_path: Path) -> None:
    assert container(tmp_path, V2, available_mib=10).memory_left() == 10 * MIB


def test_where_nothing_tells_it_is_not_known(tmp_path: Path) -> None:
    nothing = Container(tmp_path / "a", tmp_path / "b")
    assert nothing.memory_left() is None
    assert (nothing.throttled(), nothing.resident()) == (0, 0)


def test_what_cpu_a_thread_has_taken() -> None:
    container, gate = Container(), threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    busy_until = time.thread_time() + 0.1
    while time.thread_time() < busy_until:
        pass
    assert (container.thread_seconds(threading.get_native_id()) or 0.0) >= 0.1
    assert container.thread_seconds(thread.native_id or 0) == pytest.approx(0.0, abs=0.05)
    gate.set()
    thread.join()
    # Python has joined it a moment before the system has.
    end = Limit(5.0)
    while container.thread_seconds(thread.native_id or 0) is not None and not end.is_over():
        time.sleep(0.001)
    assert container.thread_seconds(thread.native_id or 0) is None


@pytest.mark.parametrize(
    ("own", "growth", "other", "needed"),
    [
        (10_000, 80 * MIB, 10_000, 80 * MIB),
        (10_000, 80 * MIB, 100 * MIB, 480 * MIB),
        (100 * MIB, 1000 * MIB, 200 * MIB, 2000 * MIB),
        (100 * MIB, 150 * MIB, 10, 150 * MIB),
        (10, 0, 50 * MIB, 200 * MIB),
    ],
    ids=["small", "huge_beside_small", "as_the_own_one_did", "smaller", "nothing_measured"],
)
def test_what_loading_may_need(own: int, growth: int, other: int, needed: int) -> None:
    assert memory_needed(own, growth, other) == pytest.approx(needed, rel=0.01)


def test_some_stays_free() -> None:
    assert reserve(None) == 32 * MIB
    assert reserve(10_000 * MIB) == 1000 * MIB


def test_a_mark_outlives_who_is_killed(tmp_path: Path) -> None:
    first = Marker(tmp_path)
    assert not first.is_left_over()
    first.write("sha256:1")
    assert not first.is_left_over()
    second = Marker(tmp_path)
    assert second.is_left_over()
    second.remove()  # not its own
    assert Marker(tmp_path).is_left_over()
    first.remove()
    first.remove()
    assert not second.is_left_over()
