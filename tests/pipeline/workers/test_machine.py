"""How much memory there is and may be used."""

import psutil
import pytest

from muralist.pipeline.settings import Settings
from muralist.pipeline.workers import machine as module
from muralist.pipeline.workers.machine import budget, machine_memory


@pytest.mark.parametrize(("limit", "expected"), [("max\n", None), ("1073741824\n", 1 << 30), (f"{1 << 60}\n", None)])
def test_a_container_may_have_less_than_the_machine(monkeypatch, tmp_path, limit, expected):
    """The smaller one of the machine's memory and the limit counts; "max" is no limit."""
    monkeypatch.setattr(module, "CGROUP_LIMIT", tmp_path / "memory.max")
    module.CGROUP_LIMIT.write_text(limit)
    assert machine_memory() == (expected or psutil.virtual_memory().total)


def test_without_containers_the_machine_counts(monkeypatch, tmp_path):
    """On other systems there is no such file."""
    monkeypatch.setattr(module, "CGROUP_LIMIT", tmp_path / "missing")
    assert machine_memory() == psutil.virtual_memory().total


def test_the_budget_is_what_was_asked_for_or_a_quarter():
    """The setting wins."""
    assert budget(Settings(memory="3GiB")) == 3 << 30
    assert budget(Settings()) == machine_memory() // 4
