"""What a server's processes use, from ``/proc``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
_MEMORY = ("/dev/", "/memfd:", "/SYSV")
"""How the paths of mappings begin that are shared memory."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of several processes."""

    private: int
    """Resident and not mapped from a file."""
    proportional: int
    """Resident, each shared page counted in equal parts (PSS)."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Resident bytes of several processes, each shared page counted in equal parts (PSS)."""

    files: int
    """Pages of the files in one folder."""
    other_files: int
    """Pages of other files: the interpreter and its libraries."""
    anonymous: int
    """Pages of no file, shared memory included."""

    @property
    def rest(self) -> int:
        """All but the folder's files."""
        return self.other_files + self.anonymous


def family(root: int) -> list[int]:
    """The process and all its descendants that live, the process itself first."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root] if _stat(root) else []
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(processes: list[int]) -> float:
    """CPU time of the processes, and of children that they waited for, since each started."""
    total = 0
    for one in processes:
        if fields := _stat(one):
            total += sum(int(field) for field in fields[11:15])
    return total / TICK


def memory(processes: list[int]) -> Memory:
    """The memory of all the processes together."""
    private = proportional = 0
    for one in processes:
        try:
            text = (PROC / str(one) / "smaps_rollup").read_text()
            status = (PROC / str(one) / "status").read_text()
        except OSError:
            continue
        proportional += _kilobytes(text, "Pss")
        private += _kilobytes(status, "RssAnon")
    return Memory(private * 1024, proportional * 1024)


def shares(processes: list[int], folder: Path) -> Shares:
    """The memory of all the processes together, by where its pages come from."""
    files = other_files = anonymous = 0
    for one in processes:
        try:
            text = (PROC / str(one) / "smaps").read_text()
        except OSError:
            continue
        for path, size in _mappings(text):
            if path.startswith(f"{folder}/"):
                files += size
            elif path.startswith("/") and not path.startswith(_MEMORY):
                other_files += size
            else:
                anonymous += size
    return Shares(files, other_files, anonymous)


def threads(processes: list[int]) -> int:
    """The threads of all the processes."""
    return sum(int(fields[17]) for one in processes if (fields := _stat(one)))


def descriptors(processes: list[int]) -> int:
    """The open files and sockets of all the processes."""
    total = 0
    for one in processes:
        try:
            total += len(os.listdir(PROC / str(one) / "fd"))
        except OSError:
            continue
    return total


def connections(process: int, port: int) -> int:
    """Connections to ``port`` that a process holds."""
    return len(_sockets(process) & _of_port(port, "01"))


def listens(process: int, port: int) -> bool:
    """Whether a process holds a socket that listens at ``port``."""
    return bool(_sockets(process) & _of_port(port, "0A"))


def _sockets(process: int) -> set[str]:
    # Inodes of its sockets.
    held = set()
    try:
        for entry in (PROC / str(process) / "fd").iterdir():
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                held.add(found.group(1))
    except OSError:
        pass
    return held


def _of_port(port: int, state: str) -> set[str]:
    # Inodes of the IPv4 sockets at a port; states as in the kernel's net/tcp_states.h.
    lines = [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    return {
        fields[9]
        for fields in lines
        if fields[3] == state and int(fields[1].split(":")[1], 16) == port
    }


def _stat(process: int) -> list[str]:
    # The fields after the name, which may hold blanks and brackets: state is the first.
    try:
        text = (PROC / str(process) / "stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _mappings(text: str) -> Iterator[tuple[str, int]]:
    # Path, empty where there is none, and bytes (PSS) of each mapping of ``smaps``.
    path = ""
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            # Addresses, rights, offset, device, inode, path; the path may hold blanks.
            path = "".join(rest.split(maxsplit=4)[4:])
        elif name == "Pss:":
            yield path, int(rest.split()[0]) * 1024


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) if found else 0
