"""What a figure was measured on, for the head of every result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def description(packages: Iterable[str] = ()) -> list[str]:
    """Lines on machine, software, commit and load."""
    found = [f"{name} {_version(name)}" for name in ("numpy", *packages)]
    return [
        f"machine: {processor()}, {os.cpu_count()} cores, caches {caches()}, {memory()}",
        f"software: {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, topiccore at {commit()}, " + ", ".join(found),
        f"measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {load()}",
    ]


def command(module: str) -> str:
    """The command line of this run, as one would type it."""
    return " ".join(["python", "-m", module, *sys.argv[1:]])


def processor() -> str:
    """The processor's name, and the widest vector instructions it has."""
    fields = _fields(Path("/proc/cpuinfo"))
    flags = fields.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "sse2") if name in flags), "")
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({widest})" if widest else name


def caches() -> str:
    """Data cache sizes of the first core, for example ``"32K/1024K/32768K"``."""
    sizes = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            sizes.append((folder / "size").read_text().strip())
    return "/".join(sizes) or "unknown"


def memory() -> str:
    """The main memory, rounded to GiB."""
    total = _fields(Path("/proc/meminfo")).get("MemTotal", "").split()
    return f"{round(int(total[0]) / 2**20)} GiB" if total else "memory unknown"


def load() -> str:
    """The load average of the last minute: well above 0 before a run means noisy figures."""
    return f"{os.getloadavg()[0]:.1f}"


def commit() -> str:
    """The commit of the working tree, with ``+`` when there are changes on it."""
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        return found + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "no commit"


def peak_memory(process: int | str = "self") -> dict[str, int]:
    """Bytes of a process: ``peak`` resident, and ``private`` (not mapped from a file) now."""
    fields = _fields(Path(f"/proc/{process}/status"))
    return {
        "peak": int(fields["VmHWM"].split()[0]) * 1024,
        "private": int(fields["RssAnon"].split()[0]) * 1024,
    }


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _fields(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    fields: dict[str, str] = {}
    for name, value in lines:
        fields.setdefault(name.strip(), value.strip())
    return fields
