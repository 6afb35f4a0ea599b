"""How many CPUs there are to work on."""

import os

from topiccore.cpus import allowed_cpus


def test_a_process_has_at_least_one_cpu_and_no_more_than_there_are():
    assert 1 <= allowed_cpus() <= (os.cpu_count() or 1)


def test_where_there_is_no_affinity_all_cpus_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert allowed_cpus() == 3
