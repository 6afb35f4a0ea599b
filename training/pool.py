"""The unlabelled pool: every text the teacher annotates, by source, with ids that find it again.

An id is a prefix and a number: ``mq:1`` and ``tb:2`` are logged queries, ``nq:dev:3`` line 3 of
the questions, ``word:4`` and ``bigram:5`` ranks in the vocabulary of the collections, ``nsi:6`` a
rank among the brand names, ``glove:7`` a row of the GloVe vocabulary (from 1), ``spliced:8``,
``swapped:9`` and ``shortened:10`` queries that ``training.made_queries`` makes.  No text stands in
the pool twice, and none that equals a labelled or a test query is in it.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from topiccore import _scoring
from training.collections import JAR, fetch_wheel, normal_form, unlabelled_pool
from training.errors import CollectionError
from training.glove import load_glove
from training.made_queries import WAYS, QueryMaker
from training.packages import Package, fetch

BRANDS = Package(
    "name-suggestion-index",
    "8.0.20260918",
    "name-suggestion-index-8.0.20260918.tgz",
    "3ee22f0f0a99528ac9c65a57211575defd968e21fd6374e746bfd02e94422121",
    22.5,
    npm=True,
)
ENGLISH_SPEAKING = frozenset({"001", "us", "ca", "gb", "ie", "au", "nz"})
"""Places of the brand index whose brands come first: the logged queries are from there."""

EXHAUSTED = 2_000
"""A way of making queries that gives so many known texts in a row has hardly any new ones."""

_WORD = re.compile(r"[a-z][a-z'\-]*[a-z]")

Report = Callable[[str], None]


@dataclass(frozen=True)
class PoolSource:
    """Texts of one source by id, in the order of their value: the first are annotated first."""

    name: str
    texts: dict[str, str]


def pool_sources(
    cache: Path,
    queries: Mapping[str, str],
    seeds: Sequence[str],
    labelled: Iterable[str],
    held_out: Iterable[str],
    limits: Mapping[str, int],
    report: Report,
) -> list[PoolSource]:
    """The sources whose ``limits`` (most texts, by source name) are above 0, without repetition.

    ``queries`` are the collections by id, ``seeds`` the texts that queries are made from,
    ``labelled`` the texts of the training labels and ``held_out`` those of the test.  The
    vocabulary sources are built without the held-out texts.
    """
    labelled, held_out = list(labelled), set(held_out)
    makers = _makers(cache, queries, seeds, labelled, held_out, report)
    if unknown := limits.keys() - makers.keys():
        raise CollectionError(f"the pool has no source {sorted(unknown)[0]!r}")
    taken = {*labelled, *held_out}
    sources = []
    for name, make in makers.items():
        limit = limits.get(name, 0)
        texts: dict[str, str] = {}
        if limit:
            repeated = 0
            for identity, text in make():
                repeated += 1
                if text and text not in taken:
                    taken.add(text)
                    texts[identity] = text
                    repeated = 0
                # The made queries come without end.
                if len(texts) == limit or (repeated == EXHAUSTED and name in WAYS):
                    break
            report(f"pool: {len(texts)} texts of {name}")
        sources.append(PoolSource(name, texts))
    return [source for source in sources if source.texts]


def pool_texts(
    cache: Path,
    queries: Mapping[str, str],
    seeds: Sequence[str],
    labelled: Iterable[str],
    held_out: Iterable[str],
    wanted: Mapping[str, Iterable[str]],
    report: Report,
) -> dict[str, dict[str, str]]:
    """The texts of ``wanted`` ids, by source; ids that are in no collection are left out.

    The other arguments are those of ``pool_sources``.  Only the sources that are wanted are made,
    and fetched.
    """
    makers = _makers(cache, queries, seeds, list(labelled), set(held_out), report)
    found = {}
    for name, identities in wanted.items():
        left = set(identities)
        texts: dict[str, str] = {}
        for identity, text in makers[name]():
            if not left:
                break
            if identity in left:
                left.discard(identity)
                texts[identity] = text
        report(f"pool: {len(texts)} texts of {name}")
        found[name] = texts
    return found


def _makers(
    cache: Path,
    queries: Mapping[str, str],
    seeds: Sequence[str],
    labelled: list[str],
    held_out: set[str],
    report: Report,
) -> dict[str, Callable[[], Iterator[tuple[str, str]]]]:
    # What gives the ids and texts of each source, in order.
    logged = unlabelled_pool(queries, {*labelled, *held_out})
    known = [*labelled, *logged]
    glove = lru_cache(lambda: load_glove(cache, report))
    maker = QueryMaker(seeds, glove)
    return {
        "logged": lambda: _first_ids(queries),
        "questions": lambda: _questions(fetch_wheel(cache, report)),
        "words": lambda: _words(known),
        "bigrams": lambda: _bigrams(known),
        "brands": lambda: _brands(fetch(BRANDS, cache, report)),
        "glove": lambda: _glove(glove()[0]),
        "spliced": maker.spliced,
        "swapped": maker.swapped,
        "shortened": maker.shortened,
    }


def _first_ids(queries: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield from queries.items()


def _questions(wheel: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(wheel) as outer, zipfile.ZipFile(io.BytesIO(outer.read(JAR))) as jar:
        for part in ("dev", "test"):
            raw = jar.read(f"topics-and-qrels/topics.dpr.nq.{part}.txt").decode("utf-8", "replace")
            for number, line in enumerate(raw.split("\n"), start=1):
                yield f"nq:{part}:{number}", normal_form(line.split("\t", 1)[0])


def _words(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    counts = Counter(word for text in texts for word in set(_scoring.tokenize(text)[0]))
    return _ranked("word", counts, least=2)


def _bigrams(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    counts: Counter[str] = Counter()
    for text in texts:
        words = _scoring.tokenize(text)[0]
        counts.update({f"{first} {second}" for first, second in pairwise(words)})
    return _ranked("bigram", counts, least=2)


def _ranked(prefix: str, counts: Counter[str], least: int) -> Iterator[tuple[str, str]]:
    kept = sorted((-count, text) for text, count in counts.items() if count >= least)
    for rank, (_, text) in enumerate(kept, start=1):
        if any(character.isalpha() for character in text):
            yield f"{prefix}:{rank}", text


def _brands(tarball: Path) -> Iterator[tuple[str, str]]:
    """Brand names, those of English-speaking countries first, each name once."""
    with tarfile.open(tarball) as archive:
        member = archive.extractfile("package/dist/json/nsi.min.json")
        if member is None:
            raise CollectionError(f"{tarball}: no nsi.min.json in it")
        index: dict[str, Any] = json.load(member)["nsi"]
    names: dict[str, bool] = {}
    for kind, entry in sorted(index.items()):
        if kind.startswith("flags/"):
            continue
        for item in entry.get("items", []):
            name = normal_form(item["displayName"])
            places = {str(place).lower() for place in item["locationSet"].get("include", [])}
            near = bool(ENGLISH_SPEAKING & places) or any(
                place.startswith(("us-", "gb-", "ca-", "au-")) for place in places
            )
            names[name] = names.get(name, False) or near
    ordered = sorted(names, key=lambda name: (not names[name], name))
    for rank, name in enumerate(ordered, start=1):
        if name.isascii():
            yield f"nsi:{rank}", name


def _glove(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Words of the GloVe vocabulary, the most frequent first; numbers and signs are left out."""
    for row, word in enumerate(words, start=1):
        if _WORD.fullmatch(word):
            yield f"glove:{row}", word
