"""Files of requests and of the answers that belong to them, from the real collections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from benchmarks.collection import tell
from topiccore import load
from training.collections import default_cache, load_queries

MOST_BYTES = 4096
"""The service's own limit on a query."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Files in a folder that is removed after the run; line n is query n in each."""

    queries: tuple[str, ...]
    urls: Path
    """Queries as the end of a URL."""
    bodies: Path
    """Queries as JSON bodies."""
    folder: Path

    def answers(self, artifact: Path) -> Path:
        """The file of right answers of an artifact, scored in this process, not by the service."""
        model = load(artifact)
        path = self.folder / f"{model.id}.answers"
        if path.exists():
            return path
        with path.open("w", encoding="ascii") as stream:
            print(model.id, file=stream)
            for answer in model.score_batch(list(self.queries)):
                topics = [
                    {"code": label.code, "name": label.name, "score": round(label.score, 4)}
                    for label in answer
                ]
                content = {"topics": topics, "truncated": answer.truncated, "model": model.id}
                print(json.dumps(content), file=stream)
        return path


def write_requests(folder: Path, queries: Sequence[str] | None = None) -> Requests:
    """Writes the files; ``queries`` are all of the collections when not given."""
    if queries is None:
        queries = list(load_queries(default_cache(), tell).values())
    kept = tuple(query for query in queries if len(query.encode()) <= MOST_BYTES)
    urls, bodies = folder / "urls.txt", folder / "bodies.txt"
    urls.write_text("".join(quote_plus(query) + "\n" for query in kept), encoding="ascii")
    bodies.write_text(
        "".join(json.dumps({"query": query}) + "\n" for query in kept), encoding="ascii"
    )
    return Requests(kept, urls, bodies, folder)
