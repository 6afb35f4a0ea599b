"""Write topiccore/_fold_table.h: what each Unicode code point becomes before hashing.

Run it with Python 3.11, whose ``unicodedata`` is Unicode 14.0, the version the tokenizer scheme
``topiccore.reference.SCHEME`` is pinned to.  The table is committed, so that every Python builds
the same tokenizer; another table is another scheme.

    python tools/make_fold_table.py

The rules themselves are ``topiccore.reference.fold_character``; this script only tabulates them.
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from topiccore.reference import fold_character

UNICODE_VERSION = "14.0.0"
BLOCK = 128
TARGET = Path(__file__).resolve().parents[1] / "topiccore" / "_fold_table.h"

# Classes, in the low three bits of an entry.  MAPPED adds length (6 bits) and offset (23 bits).
SEPARATOR, WORD, SOLO, DROPPED, MAPPED, UNASSIGNED, HANGUL = range(7)


def is_hangul_syllable(code_point: int) -> bool:
    """Whether the kernel decomposes it by arithmetic instead of by the table."""
    return 0xAC00 <= code_point <= 0xD7A3


def entry_of(code_point: int, pool: bytearray, offsets: dict[bytes, int]) -> int:
    """The table's entry of a code point; ``pool`` grows by folded text it does not have yet."""
    character = chr(code_point)
    if unicodedata.category(character) in ("Cn", "Co", "Cs"):
        return UNASSIGNED
    if is_hangul_syllable(code_point):
        return HANGUL
    folded = fold_character(character)
    if folded == " ":
        return SEPARATOR
    if folded == "":
        return DROPPED
    if folded == character:
        return WORD
    if folded == f" {character} ":
        return SOLO
    encoded = folded.encode()
    if encoded not in offsets:
        offsets[encoded] = len(pool)
        pool += encoded
    if len(encoded) >= 64:
        raise SystemExit(f"U+{code_point:04X} folds to {len(encoded)} bytes; 63 fit")
    return MAPPED | len(encoded) << 3 | offsets[encoded] << 9


def c_array(declaration: str, values: list[int] | bytearray) -> str:
    """The text of a C array."""
    rows = [
        ",".join(str(value) for value in values[start : start + 24])
        for start in range(0, len(values), 24)
    ]
    return f"static const {declaration}[{len(values)}] = {{\n" + ",\n".join(rows) + "};\n"


def main() -> None:
    """Writes the table, its equal blocks of 128 code points shared."""
    if unicodedata.unidata_version != UNICODE_VERSION:
        raise SystemExit(
            f"this Python has Unicode {unicodedata.unidata_version}; "
            f"the scheme is pinned to {UNICODE_VERSION} (Python 3.11)"
        )
    pool = bytearray()
    offsets: dict[bytes, int] = {}
    stage1: list[int] = []
    stage2: list[int] = []
    block_at: dict[tuple[int, ...], int] = {}
    for first in range(0, 0x110000, BLOCK):
        block = tuple(entry_of(code, pool, offsets) for code in range(first, first + BLOCK))
        if block not in block_at:
            block_at[block] = len(stage2) // BLOCK
            stage2 += block
        stage1.append(block_at[block])
    TARGET.write_text(
        "/* Made by tools/make_fold_table.py from Unicode "
        f"{UNICODE_VERSION}; do not edit. */\n"
        "#include <stdint.h>\n"
        + c_array("uint16_t FOLD_STAGE1", stage1)
        + c_array("uint32_t FOLD_STAGE2", stage2)
        + c_array("uint8_t FOLD_BYTES", pool),
        encoding="ascii",
    )
    print(f"{TARGET}: {len(stage2) // BLOCK} blocks, {len(pool)} bytes of folded text")


if __name__ == "__main__":
    main()
