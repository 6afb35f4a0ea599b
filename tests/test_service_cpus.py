"""How many CPUs a process may use, by affinity and by the quotas of made-up control groups."""

from __future__ import annotations

import os

import pytest

from service.cpu_quota import cpu_quota
from service.options import available_cpus


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def many_cpus(monkeypatch):
    """A machine with 64 CPUs, all of them allowed."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


CONTAINER = {"proc/self/cgroup": "0::/\n"}
NODE = "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 64),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "9000000 100000\n"}, 64),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "", NODE: ""}, 64),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "-5 0 x"}, 64),
        (CONTAINER | {"sys/fs/cgroup/cpu.max": "200000 0"}, 64),
        # The process's own group, and one above it.
        ({NODE: "0::/a.slice/b.service\n", "sys/fs/cgroup/a.slice/b.service/cpu.max": "3 1"}, 3),
        (
            {
                NODE: "0::/a.slice/b.service\n",
                "sys/fs/cgroup/a.slice/cpu.max": "200000 100000",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "400000 100000",
            },
            2,
        ),
        # A group beside it.
        ({NODE: "0::/a\n", "sys/fs/cgroup/b/cpu.max": "1 1"}, 64),
        # Only the container's group is mounted, and the path is the one outside, or leads out.
        ({NODE: "0::/kubepods/pod1/c2\n", "sys/fs/cgroup/cpu.max": "5 1"}, 5),
        ({NODE: "0::/../c3\n", "sys/fs/cgroup/cpu.max": "5 1"}, 5),
        # Version 1, and both at a time.
        (
            {
                NODE: "5:memory:/m\n4:cpu,cpuacct:/docker/1\n0::/x:y\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/unified/x:y/cpu.max": "7 1",
            },
            2,
        ),
        (
            {
                NODE: "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
        ({NODE: "3:cpuset:/a\n", "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "1"}, 64),
    ],
)
def test_available_cpus(tmp_path, many_cpus, files, cpus):
    write(tmp_path, files)
    assert available_cpus(tmp_path) == cpus


def test_the_affinity_counts_where_it_is_less(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    write(tmp_path, CONTAINER | {"sys/fs/cgroup/cpu.max": "800000 100000\n"})
    assert available_cpus(tmp_path) == 2


def test_quotas_are_parts_of_cpus(tmp_path):
    assert cpu_quota(tmp_path) is None
    write(tmp_path, CONTAINER | {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert cpu_quota(tmp_path) == 0.5
