"""A results page that several commands write, each its own section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from training.files import replacing

HEAD = (
    "# Results\n\nEvery section is written by the command it names; nothing here is edited by "
    "hand.\n"
)


def write_section(path: Path, name: str, title: str, blocks: Sequence[str]) -> None:
    """Puts a section in place of the one with that name, or at the end; other sections stay.

    ``blocks`` are paragraphs and tables.  The page appears whole or not at all.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else HEAD
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = "\n\n".join([begin, f"## {title}", *blocks, end])
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if found.search(page):
        page = found.sub(lambda _: section, page, count=1)
    else:
        page = page.rstrip("\n") + "\n\n" + section + "\n"
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
