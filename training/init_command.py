"""``topiccore init``: a folder to start a project of one's own from."""

from __future__ import annotations

import argparse
import csv
from itertools import product
from pathlib import Path

from topiccore.cli import Command
from training.config import TEMPLATE
from training.errors import TrainingError
from training.files import replacing

TAXONOMY = (
    ("code", "name", "parent", "note"),
    ("TR", "Travel", "", ""),
    ("TR1", "Flights", "TR", "tickets, airlines"),
    ("TR2", "Hotels", "TR", "rooms, hostels"),
    ("FD", "Food", "", ""),
    ("FD1", "Recipes", "FD", "how to cook something"),
    ("FD2", "Restaurants", "FD", "where to eat"),
)
_PLACES = (
    *("paris", "lisbon", "oslo", "kyoto", "boston", "lima", "cairo", "rome", "dublin", "hanoi"),
    *("quito", "riga", "porto", "delhi", "seoul", "milan", "perth", "havana", "zagreb", "tunis"),
)
_DISHES = (
    *("soup", "curry", "pancakes", "lasagne", "paella", "dumplings", "stew", "pie", "ramen"),
    *("risotto", "gnocchi", "goulash", "tacos", "burritos", "falafel", "waffles", "gumbo", "pho"),
)
_FLIGHTS = ("cheap flights to {}", "{} airport arrivals", "direct flight {}", "fly to {}")
_HOTELS = ("hotels in {}", "{} hostel with breakfast", "quiet room {} centre", "{} hotel deals")
_RECIPES = ("{} recipe", "how to make {}", "easy {} with few ingredients", "cooking {} at home")
_RESTAURANTS = ("best {} restaurant", "where to eat {}", "{} place open late", "{} dinner table")
MADE_UP = (
    ("TR1", _FLIGHTS, _PLACES),
    ("TR2", _HOTELS, _PLACES),
    ("FD1", _RECIPES, _DISHES),
    ("FD2", _RESTAURANTS, _DISHES),
    ("-", ("asdf {}", "my {}", "{} what"), ("name", "thing", "page")),
)
UNLABELLED = (
    *("flights from {} to rome", "{} by train", "{} in winter", "where to stay in {}"),
    *("is {} worth a visit", "{} old town map", "weekend in {}", "{} street food"),
)
README = """\
# A topiccore project

- `taxonomy.csv`: your labels. A label with a parent is a subtopic; leave parents empty for a flat
  list.
- `labels/*.csv`: texts with their labels (codes separated by blanks; `-` where none is right). CSV,
  TSV, JSON lines or Parquet. **`labels/example.csv` is made up: replace it by your own.**
- `unlabelled.txt`: texts without labels, one a line. **Made up too.** If you have none, delete it
  and set `unlabelled = ""` in `topiccore.toml`.

All settings stand in `topiccore.toml`, with a word on each. Train, and ask:

```console
$ topiccore train --config topiccore.toml --out run
$ topiccore score --model run/artifact "cheap flights to paris"
```

`suggest` picks unlabelled texts that are worth a label, `doubts` lists labels that are likely wrong
(it needs `pip install 'topiccore[curate]'`):

```console
$ topiccore suggest --config topiccore.toml --out run -n 20 -o suggested.csv
$ topiccore doubts --config topiccore.toml --out run -n 20 -o doubts.csv
```

Fill in the column `labels` of what they write, name the file in `[data]`, as in
`filled_in = "suggested.csv"`, and train again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore init``."""
    parser.add_argument("folder", type=Path, help="a new or empty folder")


def run(arguments: argparse.Namespace) -> int:
    """Writes the files; refuses a folder that has some."""
    folder: Path = arguments.folder
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TrainingError(f"{folder}: exists and is not an empty folder")
    except OSError as error:
        raise TrainingError(f"{folder}: {error.strerror}") from error
    _write(folder / "topiccore.toml", TEMPLATE.read_text(encoding="utf-8"))
    _write_csv(folder / "taxonomy.csv", TAXONOMY)
    _write_csv(folder / "labels" / "example.csv", [("text", "labels"), *made_up()])
    _write(folder / "unlabelled.txt", "".join(f"{text}\n" for text in made_up_unlabelled()))
    _write(folder / "README.md", README)
    _write(folder / ".gitignore", "run/\n")
    print(f"{folder}: edit taxonomy.csv, labels/ and unlabelled.txt, then")
    print(f"  topiccore train --config {folder / 'topiccore.toml'} --out {folder / 'run'}")
    return 0


def made_up() -> list[tuple[str, str]]:
    """(text, code) of every pattern of ``MADE_UP`` with every word."""
    return [
        (pattern.format(word), code)
        for code, patterns, words in MADE_UP
        for pattern, word in product(patterns, words)
    ]


def made_up_unlabelled() -> list[str]:
    """Every pattern of ``UNLABELLED`` with every place."""
    return [pattern.format(word) for pattern, word in product(UNLABELLED, _PLACES)]


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _write_csv(path: Path, rows: object) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)  # type: ignore[arg-type]


COMMAND = Command("init", "Make a folder to start a project of your own from.", configure, run)
