"""Training on anyone's data: every format, every fault with its place, and a whole run."""

import csv
import json
import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import topiccore
from topiccore import Taxonomy, TaxonomyLabel
from topiccore.cli import main
from training.config import read_config
from training.dataset import Dataset, load_dataset
from training.errors import DataError, TrainingError
from training.init_command import made_up
from training.labels import LabelledQueries
from training.own_data import (
    read_own_labels,
    read_own_taxonomy,
    read_rows,
    read_texts,
    refuse_labels_without_examples,
    set_aside,
)

FLAT = Taxonomy([TaxonomyLabel(code, code, None) for code in "ABC"])
TWO_LEVELS = Taxonomy([TaxonomyLabel("A", "A", None), TaxonomyLabel("A1", "A1", "A")])


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def labels(path: Path, taxonomy: Taxonomy = FLAT, told: list[str] | None = None):
    return read_own_labels([path], taxonomy, (told if told is not None else []).append)


def as_parquet(folder: Path, columns: dict) -> Path:
    path = folder / "labels.parquet"
    pq.write_table(pa.table(columns), path)
    return path


# --- taxonomies ----------------------------------------------------------------------------------


def test_taxonomy_in_any_order(tmp_path):
    path = written(tmp_path, "t.csv", "parent,code,name\nB,B1,b one\n,A,a\n,B,b\nA,A1,a one\n")
    found = read_own_taxonomy(path)
    assert [(x.code, x.name, x.topic) for x in found] == [
        ("A", "a", None),
        ("A1", "a one", "A"),
        ("B", "b", None),
        ("B1", "b one", "B"),
    ]


def test_flat_taxonomy_with_notes(tmp_path):
    path = written(tmp_path, "t.jsonl", '{"code": "A", "name": "a", "note": "all of a"}\n')
    assert list(read_own_taxonomy(path)) == [TaxonomyLabel("A", "a", None, "all of a")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("code,name\nA,a\nA,b\n", r"t\.csv:3: code 'A' stands in line 2 too"),
        ("code,name,parent\nA,a,B\n", r"t\.csv:2: parent 'B' is no code of this file"),
        (
            "code,name,parent\nA,a,\nA1,x,A\nA2,y,A1\n",
            r"t\.csv:4: parent 'A1' is a subtopic itself",
        ),
        ("code,name\nA,\n", r"t\.csv:2: empty code or name"),
        ("code,name\nA b,x\n", r"t\.csv:2: code 'A b'"),
        ("code,name\n-,x\n", r"t\.csv:2: code '-'"),
        ("code,name\n", r"t\.csv: no label"),
        ("code,title\nA,a\n", r"t\.csv: no column 'name'; there are 'code', 'title'"),
        ("", r"t\.csv: no column 'code'; there are none"),
        ("code,name\nA\n", r"t\.csv:2: 1 columns, the header has 2"),
        (b"code,name\nA,a\nB,\xff\nC,c\n", r"t\.csv:3: not UTF-8"),
    ],
)
def test_bad_taxonomy(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_own_taxonomy(written(tmp_path, "t.csv", content))


# --- labels --------------------------------------------------------------------------------------


ROWS = [("One  text", ["A"], 1), ("two, with comma", ["A", "C"], 4), ("three", [], 1)]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "jsonl lists", "parquet"])
def test_every_format(tmp_path, kind):
    if kind == "csv":
        text = 'labels,text,count\nA,One  text,\nA C,"two, with comma",4\n-,three,1\n'
        path = written(tmp_path, "l.csv", "\ufeff" + text)
    elif kind == "tsv":
        text = "text\tlabels\tcount\nOne  text\tA\t1\ntwo, with comma\tA|C\t4\nthree\t-\t1\n"
        path = written(tmp_path, "l.tsv", text)
    elif kind == "parquet":
        path = as_parquet(
            tmp_path,
            {
                "text": [text for text, _, _ in ROWS],
                "labels": [codes or ["-"] for _, codes, _ in ROWS],
                "count": [count for _, _, count in ROWS],
            },
        )
    else:
        as_lists = kind.endswith("lists")
        lines = [
            {"text": text, "labels": (codes or ["-"]) if as_lists else "; ".join(codes or ["-"])}
            | {"count": count}
            for text, codes, count in ROWS
        ]
        path = written(tmp_path, "l.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    found = labels(path)
    assert found.texts == ["one text", "two, with comma", "three"]
    assert found.gold.tolist() == [[True, False, False], [True, False, True], [False] * 3]
    assert found.counts.tolist() == [1, 4, 1]
    assert len(set(found.ids)) == 3


def test_a_subtopic_brings_its_topic(tmp_path):
    found = labels(written(tmp_path, "l.csv", "text,labels\nx,A1\n"), TWO_LEVELS)
    assert found.gold.tolist() == [[True, True]]


def test_a_topic_that_is_written_out_is_no_contradiction(tmp_path):
    rows = "text,labels\nx,A1\nx,A A1\nx,A1 A\ny,A\ny,A\n"
    found = labels(written(tmp_path, "l.csv", rows), TWO_LEVELS)
    assert found.texts == ["x", "y"]
    assert found.gold.tolist() == [[True, True], [True, False]]
    assert found.counts.tolist() == [3, 2]
    with pytest.raises(DataError, match=r"l\.csv:3: the text of .*l\.csv:2 with other labels"):
        labels(written(tmp_path, "l.csv", "text,labels\nx,A1\nx,A\n"), TWO_LEVELS)


def test_rows_without_labels_are_skipped_and_repeated_ones_joined(tmp_path):
    told: list[str] = []
    path = written(tmp_path, "l.csv", "text,labels,count\nx,A,2\ny,,1\n X,A,3\nz,B,1\n,,\n")
    found = labels(path, told=told)
    assert found.texts == ["x", "z"]
    assert found.counts.tolist() == [5, 1]
    assert told == [f"{path}: 2 rows without labels skipped", f"{path}: 1 repeated rows joined"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,labels\nx,A D\n", r"l\.csv:2: label 'D' is not in the taxonomy"),
        ("text,labels\nx,A\nX ,B\n", r"l\.csv:3: the text of .*l\.csv:2 with other labels"),
        ("text,labels\n ,A\n", r"l\.csv:2: text is ' '"),
        ("text,labels,count\nx,A,0\n", r"l\.csv:2: count '0' is not a whole number"),
        ("text,labels,count\nx,A,1.5\n", r"l\.csv:2: count '1.5' is not a whole number"),
        ("text,labels,count\nx,A,many\n", r"l\.csv:2: count 'many' is not a whole number"),
        ('text,labels\n"x,A\n', r"l\.csv:\d: unexpected end of data"),
        ("text,labels\n", r"l\.csv: no labelled text"),
        ("text,labels\nx,\n", r"l\.csv: no labelled text"),
    ],
)
def test_bad_labels(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        labels(written(tmp_path, "l.csv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}\n", r"l\.jsonl:1: no column 'text'; there are none"),
        ('{"text": "x", "labels": "A"}\n{"text"\n', r"l\.jsonl:2: not JSON"),
        ("[1]\n", r"l\.jsonl:1: not a JSON object"),
        ('{"text": 5, "labels": "A"}\n', r"l\.jsonl:1: text is 5"),
        ('{"text": "x", "labels": [5]}\n', r"l\.jsonl:1: labels \[5\] are no codes"),
        ('{"text": "x", "labels": {"A": 1}}\n', r"l\.jsonl:1: labels .* are no codes"),
    ],
)
def test_bad_json_lines(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        labels(written(tmp_path, "l.jsonl", content))


def test_other_files(tmp_path):
    with pytest.raises(DataError, match=r"l\.xlsx: not \.csv"):
        list(read_rows(tmp_path / "l.xlsx", []))
    with pytest.raises(DataError, match=r"l\.csv: No such file"):
        list(read_rows(tmp_path / "l.csv", []))
    with pytest.raises(DataError, match=r"l\.parquet: no Parquet file"):
        list(read_rows(written(tmp_path, "l.parquet", "text"), []))
    path = as_parquet(tmp_path, {"a": [1]})
    with pytest.raises(DataError, match=r"labels\.parquet: no column 'text'; there are 'a'"):
        list(read_rows(path, ["text"]))


def test_unlabelled_texts(tmp_path):
    plain = written(tmp_path, "a.txt", "One\n\n two  words\none\n")
    table = written(tmp_path, "b.csv", "id,text\n1,three\n2,\n3,ONE\n")
    assert read_texts([plain, table]) == ["one", "two words", "three"]


def test_labels_without_examples_are_told(tmp_path):
    found = labels(written(tmp_path, "l.csv", "text,labels\nx,A\n"))
    with pytest.raises(DataError, match=r"here: no training query has the label B, C; add some"):
        refuse_labels_without_examples(found, FLAT, "here")


def made(texts_and_labels, folder: Path) -> LabelledQueries:
    rows = "".join(f"{text},{codes}\n" for text, codes in texts_and_labels)
    return labels(written(folder, "made.csv", "text,labels\n" + rows))


def test_set_aside_is_a_seeded_share(tmp_path):
    found = made(((f"t{i}", "A") for i in range(1000)), tmp_path)
    rest, held = set_aside(found, 0.3, 7)
    assert len(held) == pytest.approx(300, abs=60)
    assert Counter(rest.texts + held.texts) == Counter(found.texts)
    assert [text for text in found.texts if text in set(held.texts)] == held.texts
    assert set_aside(found, 0.3, 7)[1].texts == held.texts != set_aside(found, 0.3, 8)[1].texts


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_set_aside_keeps_a_text_of_each_label(tmp_path, share):
    for number in range(20):
        found = made([(f"{number} {i}", code) for i, code in enumerate("AAAABBC")], tmp_path)
        rest, _ = set_aside(found, share, number)
        assert rest.gold.any(axis=0).all()


def test_texts_stay_on_their_side_when_others_come(tmp_path):
    random = np.random.default_rng(1)
    # Label C has few texts: those kept back for it must not go over when more of it come.
    first = [(f"t{i}", "C" if i % 100 == 0 else "AB"[i % 2]) for i in range(400)]
    new = [(f"new {i}", "ABC"[i % 3]) for i in range(60)]
    for seed in range(20):
        before = set_aside(made(first, tmp_path), 0.3, seed)
        after = set_aside(made(first + new, tmp_path), 0.3, seed, len(new))
        for earlier, later in zip(before, after, strict=True):
            assert set(earlier.texts) <= set(later.texts)
        assert any(text.startswith("new") for text in after[1].texts)
        shuffled = [first[i] for i in random.permutation(len(first))]
        assert set(set_aside(made(shuffled, tmp_path), 0.3, seed)[1].texts) == set(before[1].texts)


# --- a project from its beginning ----------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPICCORE_CACHE", str(tmp_path / "no-cache"))
    assert main(["init", str(tmp_path / "project")]) == 0
    return tmp_path / "project"


def change(project: Path, **changes: str) -> Path:
    settings = project / "topiccore.toml"
    text = settings.read_text()
    for name, value in changes.items():
        text, count = re.subn(rf"^{name} = \S+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1
    settings.write_text(text)
    return settings


def train(project: Path, **changes: str) -> int:
    settings = change(project, **changes)
    return main(["train", "--config", str(settings), "--out", str(project / "run")])


def dataset(project: Path, told: list[str] | None = None) -> Dataset:
    report = (told if told is not None else []).append
    return load_dataset(read_config(project / "topiccore.toml"), project / "no-cache", report)


def codes(data: Dataset, queries: LabelledQueries) -> list[list[str]]:
    return [[data.taxonomy[place].code for place in np.flatnonzero(row)] for row in queries.gold]


def test_a_new_project_trains_as_it_stands(project, capsys):
    assert sorted(path.name for path in project.iterdir()) == [
        ".gitignore",
        "README.md",
        "labels",
        "taxonomy.csv",
        "topiccore.toml",
        "unlabelled.txt",
    ]
    assert train(project) == 0
    told = capsys.readouterr().err
    assert "101 of the training queries are set aside" in told
    assert "there are no test queries to measure on" in told
    assert not (project.parent / "no-cache").exists()
    model = topiccore.load(project / "run" / "artifact")
    assert [x.code for x in model.score("cheap flights to vienna")] == ["TR", "TR1"]
    assert [x.code for x in model.score("cooking ramen")] == ["FD", "FD1"]
    assert model.score("asdf page") == []


def test_every_command_of_its_readme(project, monkeypatch, capsys):
    pytest.importorskip("cleanlab")
    monkeypatch.chdir(project)
    text = Path("README.md").read_text()
    commands = re.findall(r"^\$ topiccore (.+)$", text, re.MULTILINE)
    assert {command.split()[0] for command in commands} == {"train", "score", "suggest", "doubts"}
    # Nothing stands outside the blocks that would not be run here.
    assert text.count("topiccore ") == len(commands) + text.count("# A topiccore project")
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    assert "TR1   Travel > Flights" in capsys.readouterr().out
    with Path("suggested.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20
    with Path("suggested.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"labels": "TR"} for row in rows)
    (setting,) = re.findall(r"`filled_in = (\S+)`", text)
    before = dataset(project)
    change(project, filled_in=setting)
    after = dataset(project)
    assert len(before.pool) - len(after.pool) == 20
    assert main(shlex.split(commands[0])) == 0


def test_two_settings_are_enough(project, capsys):
    text = '[data]\ntaxonomy = "taxonomy.csv"\ntrain = "labels/*.csv"\n'
    written(project, "topiccore.toml", text + "[report]\nlearning_curve = false\n")
    assert train(project) == 0
    assert "labels can be emitted" in capsys.readouterr().err
    assert topiccore.load(project / "run" / "artifact").score("cheap flights to vienna")


def test_a_test_file_is_measured_on(project, capsys):
    rows = [f"{text} today,{code}" for text, code in made_up()][::7]
    written(project, "test.csv", "text,labels\n" + "\n".join(rows))
    assert train(project, test='"test.csv"') == 0
    assert f"quality on {len(rows)} test queries" in capsys.readouterr().out


def test_leakage_into_the_test_is_told(project, capsys):
    text, code = made_up()[0]
    written(project, "test.csv", f"text,labels\n{text},{code}\n")
    assert train(project, test='"test.csv"') == 1
    assert "1 of 1 test queries have the text of a " in capsys.readouterr().err


def test_unlabelled_text_and_own_validation(project, capsys):
    rows = [f"{text} now,{code}" for text, code in made_up()][::3]
    written(project, "held.csv", "text,labels\n" + "\n".join(rows))
    written(project, "pool.txt", "flights to mars\nhotel on the moon\n")
    changes = {"validation": '"held.csv"', "unlabelled": '"pool.txt"'}
    assert train(project, **changes) == 0
    assert "313 training queries, 0 test queries, 2 unlabelled, 6" in capsys.readouterr().err


def test_too_little_to_promise_anything(project, capsys):
    rows = [f"{text},{code}" for text, code in made_up()][::8]
    written(project / "labels", "example.csv", "text,labels\n" + "\n".join(rows))
    assert train(project) == 0
    assert "validation queries are too few" in capsys.readouterr().err
    model = topiccore.load(project / "run" / "artifact")
    assert np.isinf(model.artifact.thresholds).all()
    assert model.score("cheap flights to rome", min_score=0.2)


def test_annotations_of_other_data_are_refused(project, capsys):
    written(project, "annotations.zip", b"")
    assert train(project, file='"annotations.zip"') == 1
    assert "annotations are of the built-in collections" in capsys.readouterr().err


def test_corrections_keep_ids_and_counts_and_reach_validation(project):
    rows = [f"{i},{text},{code},{i + 1}" for i, (text, code) in enumerate(made_up())]
    written(project / "labels", "example.csv", "id,text,labels,count\n" + "\n".join(rows))
    written(project, "held.csv", "id,text,labels,count\nh0,held one,TR1,7\nh1,held two,TR1,8\n")
    first = made_up()[0][0]
    written(project, "more.csv", f"text,labels\n{first},FD2\nheld two,FD1\na new one,-\n")
    change(project, validation='"held.csv"')
    before = dataset(project)
    change(project, filled_in='"more.csv"')
    after = dataset(project)
    assert after.train.texts == [*before.train.texts, "a new one"]
    assert after.train.ids[:-1] == before.train.ids == [str(i) for i in range(len(rows))]
    assert after.train.counts.tolist() == [*before.train.counts.tolist(), 1]
    assert codes(after, after.train)[0] == ["FD", "FD2"]
    assert codes(after, after.train)[1:-1] == codes(before, before.train)[1:]
    assert after.validation.ids == ["h0", "h1"]
    assert after.validation.counts.tolist() == [7, 8]
    assert codes(after, after.validation) == [["TR", "TR1"], ["FD", "FD1"]]


def test_feeding_back_leaves_texts_on_their_side(project):
    before = dataset(project)
    rows = [f"something else {i},{['TR1', 'TR2', 'FD1', 'FD2'][i % 4]}" for i in range(16)]
    written(project, "more.csv", "text,labels\n" + "\n".join(rows))
    change(project, filled_in='"more.csv"')
    after = dataset(project)
    assert len(before.validation) > 50
    assert set(before.validation.texts) <= set(after.validation.texts)
    assert set(before.train.texts) <= set(after.train.texts)
    assert len(after.train) + len(after.validation) == len(made_up()) + 16


def test_what_is_in_two_sets_is_told(project):
    both = [f"{text},{code}" for text, code in made_up()[:9]]
    written(project, "held.csv", "text,labels\n" + "\n".join(both))
    change(project, validation='"held.csv"')
    told: list[str] = []
    assert len(dataset(project, told).train) == len(made_up()) - 9
    assert "9 of the training queries are validation queries: not learned from" in told
    written(project, "test.csv", "text,labels\n" + "\n".join(both[2:]))
    change(project, test='"test.csv"')
    said = r"test\.csv: 7 of 7 test queries have the text of a validation query: "
    with pytest.raises(DataError, match=said + r"test\.csv:2 that of held\.csv:4, .* and 2 more"):
        dataset(project)


def test_a_pattern_without_files_is_told(project, capsys):
    assert train(project, train='"nothing/*.csv"') == 1
    assert "data.train: no file is called" in capsys.readouterr().err


@pytest.mark.parametrize("size", [3, 300])
def test_flat_taxonomies_of_other_sizes(project, size):
    codes = [f"c{i}" for i in range(size)]
    names = "".join(f"{code},name {code}\n" for code in codes)
    written(project, "taxonomy.csv", "code,name\n" + names)
    numbers = [(i, j) for i in range(size) for j in range(900 // size)]
    rows = [f"word{i} variant {j},c{i}" for i, j in numbers]
    rows += [f"word0 word1 pair {j},c0 c1" for j in range(20)]
    written(project / "labels", "example.csv", "text,labels\n" + "\n".join(rows))
    assert train(project) == 0
    model = topiccore.load(project / "run" / "artifact")
    assert len(model.taxonomy) == size
    assert model.score("word2 variant", min_score=0)[0].code == "c2"


def test_init_never_overwrites(project, tmp_path, capsys):
    assert main(["init", str(project)]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["init", str(written(tmp_path, "file", ""))]) == 1
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / "empty")]) == 0


def test_errors_are_errors_of_training():
    assert issubclass(DataError, TrainingError)
