"""The part of the page that tells what a model was made from."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from training.report.markup import table


def data_section(figures: dict[str, Any]) -> str:
    """Counts, checksums, settings, and the whole of what the artifact tells of itself."""
    sizes = table(
        ("data of this report", "count"),
        [(name, size) for name, size in figures["sizes"].items() if size],
    )
    own = {name: size for name, size in figures["data"].items() if isinstance(size, int)}
    told = table(("the artifact learned from", "count"), list(own.items())) if own else ""
    learned = figures["data"].get("sha256", {})
    rows = [(name, here, _same(learned.get(name), here)) for name, here in figures["sums"].items()]
    sums = table(("source", "SHA-256", "the artifact's"), rows) if rows else ""
    settings = [
        (section, name, _shown(value))
        for section, values in figures["training"].get("settings", {}).items()
        for name, value in values.items()
    ]
    if "seed" in figures["training"]:
        settings.insert(0, ("", "seed", _shown(figures["training"]["seed"])))
    listed = table(("section", "setting", "value"), settings) if settings else ""
    content = {"training": figures["training"], "data": figures["data"]}
    shown = json.dumps(content, indent=1, ensure_ascii=False)
    return (
        f'<div class="row">{sizes}{told}</div>'
        + _details("files and their checksums", sums)
        + _details("settings of the training run", listed)
        + _details("all that the artifact tells of itself", f"<pre>{escape(shown)}</pre>")
    )


def _same(learned: str | None, here: str) -> str:
    if learned is None:
        return "not told"
    return "the same" if learned == here else learned


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _details(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>" if content else ""
