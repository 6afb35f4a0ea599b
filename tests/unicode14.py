"""Which characters Unicode 14.0, to which the tokenizer is pinned, does not assign."""

import unicodedata
from pathlib import Path

UNASSIGNED = Path(__file__).parent / "golden" / "unassigned-unicode-14.txt"
PINNED = unicodedata.unidata_version == "14.0.0"


def unassigned() -> set[str]:
    """The characters that Unicode 14.0 does not assign."""
    found = set()
    for line in UNASSIGNED.read_text("ascii").splitlines():
        first, last = (int(part, 16) for part in line.split(".."))
        found.update(map(chr, range(first, last + 1)))
    return found


def newer_characters() -> set[str]:
    """Those that the running Python assigns all the same: none where it is pinned to 14.0."""
    return {c for c in unassigned() if unicodedata.category(c) != "Cn"}


NEWER = newer_characters() if not PINNED else set()
"""Characters that the reference knows in this Python and the kernel does not."""
