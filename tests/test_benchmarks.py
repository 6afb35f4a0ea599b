"""The measuring code: what it computes from times, never how fast anything is."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import made_up, table, timing
from benchmarks.footprint import LINE, footprint
from benchmarks.memory import Memory
from benchmarks.results import write_section
from topiccore import TopicModel, reference
from topiccore.artifact import Artifact


@pytest.fixture(scope="module")
def small() -> Artifact:
    """A made-up compact artifact of 40 labels."""
    return made_up.artifact(labels=40, word_count=300)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ns"),
        (4.12e-7, "412 ns"),
        (3.4219e-6, "3.42 µs"),
        (0.2154, "215 ms"),
        (12.04, "12.0 s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert table.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(12, "12.0 B"), (3200, "3.20 kB"), (24_130_000, "24.1 MB"), (1.5e9, "1.50 GB")],
)
def test_size(count: float, text: str) -> None:
    assert table.size(count) == text


def test_rate_has_three_digits() -> None:
    assert table.rate(1 / 512_345) == "512,000"


def test_table_is_markdown_with_equal_widths() -> None:
    lines = table.table(["peer", "time"], [["a", "1 µs"], ["longer", "20 µs"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "|--------|------:|"
    assert lines[3] == "| longer | 20 µs |"


def test_median_ratio_finds_the_ratio_under_shared_noise() -> None:
    # Rounds are up to ten times slower than others, both sides alike.
    random = np.random.default_rng(3)
    noise = np.exp(random.uniform(0, np.log(10), size=(6, 15)))
    found = timing.median_ratio(1.3e-6 * noise, 1e-6 * noise)
    assert found.value == pytest.approx(1.3)
    assert found.low == pytest.approx(1.3)
    assert found.high == pytest.approx(1.3)


def test_median_ratio_counts_launches_not_rounds() -> None:
    # Rounds of a launch agree, launches do not: the interval must reach over the launches.
    ours = np.repeat([[0.9], [1.0], [1.1], [1.2], [1.3]], 40, axis=1)
    found = timing.median_ratio(ours, np.ones_like(ours))
    assert found.value == pytest.approx(1.1)
    assert found.low <= 1.0
    assert found.high >= 1.2


def test_call_latencies_keeps_to_the_order_and_the_budget() -> None:
    seen: list[int] = []
    assert len(timing.call_latencies(seen.append, [3, 1, 2])) == 3
    assert seen == [3, 1, 2]
    assert len(timing.call_latencies(seen.append, range(1000), budget=0.0)) == 1


def test_write_section_replaces_its_own_section_alone(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    write_section(page, "one", "First", ["old"])
    write_section(page, "two", "Second", ["kept"])
    write_section(page, "one", "First", [r"new \1"])
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["First", "Second"]
    assert r"new \1" in text
    assert "kept" in text
    assert "old" not in text


def test_made_up_model_is_the_same_each_time_and_emits(small: Artifact) -> None:
    again = made_up.artifact(labels=40, word_count=300)
    assert np.array_equal(small.rows, again.rows)
    assert np.array_equal(small.thresholds, again.thresholds)
    queries = made_up.queries(made_up.words(300), 200, seed=9)
    emitted = np.mean([len(answer) for answer in TopicModel(small).score_batch(queries)])
    assert 0.5 < emitted < 5


def test_made_up_cases_are_of_their_kind(small: Artifact) -> None:
    model = TopicModel(small)
    cases = made_up.cases(word_count=300, count=20)
    assert tuple(cases) == made_up.KINDS
    assert all(query.isascii() for query in cases["long"])
    assert not any(query.isascii() for query in cases["non-ASCII"])
    assert len(cases["long"][0].split()) == 40
    [bias] = np.unique(model.logits(cases["unknown words"]))
    assert bias == small.bias[0]
    assert not (model.logits(cases["non-ASCII"]) == small.bias[0]).all()


def _touched_lines(artifact: Artifact, query: str) -> dict[str, set[int]]:
    # The kernel's search and rows, read by read.
    index, touched = (
        artifact.index,
        {"groups": set(), "keys": set(), "entries": set(), "rows": set()},
    )

    def read(array: str, start: int, count: int, width: int) -> None:
        for byte in range(start * width, (start + count) * width):
            touched[array].add(byte // LINE)

    for _, bucket in reference.features(query):
        read("groups", bucket >> 16, 2, 4)
        for place in range(index.groups[bucket >> 16], index.groups[(bucket >> 16) + 1]):
            read("keys", place, 1, 2)
            if index.keys[place] == bucket & 0xFFFF:
                break
        place = reference.find_feature(index, bucket)
        if place is None:
            continue
        if artifact.encoding == "sparse8":
            read("entries", place, 2, 4)
            read("rows", index.entries[place], index.entries[place + 1] - index.entries[place], 2)
        else:
            read("entries", place, 1, 4)
            entry = int(index.entries[place])
            labels = artifact.rows.shape[1]
            read("rows", (entry >> 2) * labels, ((entry & 1) + (entry >> 1 & 1)) * labels, 4)
    return touched


def test_footprint_counts_what_the_rules_read(small: Artifact, artifact: Artifact) -> None:
    queries = [
        *made_up.queries(made_up.words(300), 30, seed=4),
        "unknown qqq",
        "red dress red dress",
    ]
    for model in (small, artifact):
        found = footprint(model, queries)
        expected = [_touched_lines(model, query) for query in queries]
        for touched in found.arrays:
            lines = np.mean([len(lines[touched.array]) for lines in expected])
            assert touched.lines == pytest.approx(lines), touched.array
        assert found.features == np.mean([len(reference.features(query)) for query in queries])


def test_memory_reads_every_line_of_a_cycle() -> None:
    speed = Memory().measure(16 << 10)
    assert speed.size == 16 << 10
    assert speed.gather > 0
    assert speed.latency > 0
    assert speed.bandwidth > 0


def test_made_up_taxonomy_has_topics_before_their_subtopics() -> None:
    made = made_up.taxonomy(31)
    assert [label.topic for label in made[:2]] == [None, "L00000"]
    assert made.parents[16] == 15
    assert made.parents[30] == -1
