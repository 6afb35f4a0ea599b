"""Writes a report: ``report.json`` and ``report.html`` in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from training.files import replacing
from training.report.figures import Figures
from training.report.page import page


def write_report(folder: Path, found: Figures) -> Path:
    """Both files, each whole or not at all; returns the page's path."""
    with replacing(folder / "report.json") as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    with replacing(folder / "report.html") as partial:
        partial.write_text(page(found), encoding="utf-8")
    return folder / "report.html"
