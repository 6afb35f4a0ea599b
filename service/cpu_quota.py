"""The CPU time that the control groups of Linux leave to this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many CPUs' time this process gets, at most; ``None`` where nothing limits it.

    The least of the quotas over their periods of the process's group and of all groups above it:
    ``cpu.max`` (version 2), ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (version 1).

    Args:
        root: the folder in which ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        lines = []
    groups = root / "sys/fs/cgroup"
    # Without a line of its own the process is taken to be in the group that is mounted.
    versions_2, versions_1 = [PurePosixPath("/")], [PurePosixPath("/")]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            versions_2.append(PurePosixPath(path))
        elif "cpu" in controllers.split(","):
            versions_1.append(PurePosixPath(path))
    quotas = [
        *(
            _version_2(folder)
            for top in (groups, groups / "unified")
            for folder in _folders(top, versions_2)
        ),
        *(
            _version_1(folder)
            for top in (groups / "cpu", groups / "cpu,cpuacct")
            for folder in _folders(top, versions_1)
        ),
    ]
    return min((one for one in quotas if one is not None), default=None)


def _folders(top: Path, paths: list[PurePosixPath]) -> Iterator[Path]:
    # In a container the path may be the one outside, of which nothing is mounted, or lead above
    # what is mounted: the group at the top is then the container's.
    for path in paths:
        parts = [part for part in path.parts if part not in ("/", "..")]
        for count in range(len(parts) + 1):
            yield top.joinpath(*parts[:count])


def _version_2(folder: Path) -> float | None:
    return _cpus(_words(folder / "cpu.max"))


def _version_1(folder: Path) -> float | None:
    return _cpus(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, UnicodeError):
        return []


def _cpus(words: list[str]) -> float | None:
    # Without a limit the quota is "max" in version 2 and -1 in version 1.
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None
