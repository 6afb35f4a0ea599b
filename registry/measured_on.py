"""Whether the queries that versions are compared on are the test queries of both, and enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from topiccore import TopicModel

LEAST_QUERIES = 300
"""With fewer, a version must be much worse before the interval of a difference shows it."""


def named_files(paths: Sequence[Path]) -> list[dict[str, str]]:
    """The names and SHA-256 of files, as they stand in histories."""
    from training.packages import file_sha256

    return [{"name": path.name, "sha256": file_sha256(path)} for path in paths]


def doubts(files: Sequence[Mapping[str, str]], queries: int, models: Sequence[TopicModel]) -> str:
    """Why figures of the queries in these files need a reason; empty where they need none."""
    found = []
    sums = sorted(file["sha256"] for file in files)
    if any(sums != tested_on(model.artifact.data) for model in models):
        found.append("not the test queries that both manifests name")
    if queries < LEAST_QUERIES:
        found.append(f"fewer than {LEAST_QUERIES} queries ({queries})")
    return ", ".join(found)


def tested_on(data: Mapping[str, Any]) -> list[str]:
    """The SHA-256 of the files of test queries that a manifest names, sorted."""
    sums = data.get("sha256")
    if not isinstance(sums, Mapping):
        return []
    # Of several files the others are "test 2", "test 3" and so on.
    return sorted(str(x) for name, x in sums.items() if name == "test" or name[:5] == "test ")
