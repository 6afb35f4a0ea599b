"""How many CPUs there are to work on."""

from __future__ import annotations

import os


def allowed_cpus() -> int:
    """The CPUs that this process may use, by its affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
