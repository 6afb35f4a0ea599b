"""What the tests of manifests and pipeline share."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache/manifests"
"""Where ``tools/manifests.py`` keeps what it has fetched."""


def tool():
    """``tools/manifests.py``."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("manifests")
    finally:
        sys.path.pop(0)
