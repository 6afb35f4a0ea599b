"""The report: figures by hand, a page that stands alone, and what it says of another artifact."""

import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from test_own_data import project, train, written  # noqa: F401
from training_support import open_run, trained

import topiccore
from topiccore import Taxonomy, TaxonomyLabel
from topiccore.cli import main
from training.errors import DataError
from training.labels import LabelledQueries
from training.report.charts import bar_chart, heat_map, line_chart
from training.report.curves import POINTS, add_curves, curves, read_curves
from training.report.figures import SCHEMA, compare, figures, wilson
from training.report.page import page

TAXONOMY = Taxonomy(
    [TaxonomyLabel("A", "A", None), TaxonomyLabel("A1", "A1", "A"), TaxonomyLabel("B", "B", None)]
)


class Checker(HTMLParser):
    """Counts tags, and notes what would be fetched and what is not closed."""

    VOID = frozenset({"meta", "br", "input", "circle", "line", "rect", "polyline"})

    def __init__(self):
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.fetched == []
    assert "url(" not in text
    assert "@import" not in text
    return checker


def labelled(gold, counts=None) -> LabelledQueries:
    names = [f"text {i}" for i in range(len(gold))]
    counts = np.ones(len(gold), np.int64) if counts is None else np.array(counts)
    return LabelledQueries(names, names, counts, np.array(gold, bool))


# --- figures -------------------------------------------------------------------------------------


def test_curves_by_hand():
    scores = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.1], [0.1, 0.1, 0.5], [0.2, 0.1, 0.4]])
    gold = [[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]
    found = curves(scores, labelled(gold, [1, 1, 1, 5]), TAXONOMY)
    assert list(found) == ["all labels", "topics", "subtopics"]
    assert found["all labels"]["queries"] == [[0.25, 1.0], [0.5, 1.0], [0.75, 0.75], [1.0, 0.8]]
    assert found["topics"]["traffic"] == [
        [0.125, 1.0],
        [0.25, 1.0],
        [0.375, 0.6667],
        [1.0, 0.875],
    ]


def test_curves_of_many_queries_have_few_points():
    scores = np.random.default_rng(0).random((2000, 3))
    found = curves(scores, labelled(scores > 0.5), TAXONOMY)
    for by_weighting in found.values():
        for points in by_weighting.values():
            assert len(points) <= POINTS
            assert [p[0] for p in points] == sorted(p[0] for p in points)
            assert points[-1][0] == 1


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.278), (10, 10, 0.722, 1), (9, 10, 0.596, 0.982)],
)
def test_wilson_intervals(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-3)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder, config, _ = trained(tmp_path_factory)
    run = open_run(folder, config)
    model = topiccore.load(folder / "artifact")
    return folder, run, model, json.loads((folder / "report.json").read_text())


def test_figures_of_a_run(found):
    _, run, model, report = found
    assert report["schema"] == SCHEMA
    assert report["model"] == model.id
    assert report["queries"] == len(run.data.test) == 999
    answers = model.score_batch(run.data.test.texts)
    counts = Counter(label.code for answer in answers for label in answer)
    for row in report["per_label"]:
        assert row["emitted"] == counts[row["code"]]
        assert row["train"] == run.data.train.gold[:, model.taxonomy.index_of(row["code"])].sum()
        if row["never"]:
            assert row["threshold"] is None
        if row["emitted"]:
            low, high = row["interval"]
            assert low <= row["precision"] <= high
    never = {row["code"] for row in report["per_label"] if row["never"]}
    assert never == set(model.training["labels_never_emitted"])
    assert any(row["never"] and "are asked for" in row["never"] for row in report["per_label"])
    assert sum(group["queries"] for group in report["by_length"]) == 999
    assert sum(group["queries"] for group in report["by_unknown_words"]) == 999
    assert sum(b["count"] for b in report["reliability"]) == 999 * 356
    emitted = sum(bool(answer) for answer in answers)
    labelled_queries = int(run.data.test.gold.any(axis=1).sum())
    errors = report["errors"]
    assert errors["nothing emitted"]["count"] <= 999 - emitted
    assert errors["wrong topic"]["count"] < labelled_queries
    diagonal = sum(row[place] for place, row in enumerate(report["confusions"]["matrix"]))
    topics = [x["code"] for x in report["labels"] if x["topic"]]
    right = {row["code"]: row["right"] for row in report["per_label"]}
    assert diagonal == sum(right[code] for code in topics)
    assert report["learning_curve"] == []
    assert report["sizes"]["test queries"] == 999


def test_the_page_stands_alone_and_shows_the_figures(found):
    folder, _, model, report = found
    text = (folder / "report.html").read_text()
    assert text == page(report)
    tags = checked(text).tags
    assert tags["svg"] == 6 + 1 + 2
    assert tags["tr"] > 356
    assert model.id in text
    assert "{{" not in text
    once = report["quality"]["all labels"]["queries"]
    assert f"{once['precision']:.1%}" in text
    assert "prefers-color-scheme: dark" in text


def test_queries_cannot_break_the_page(found):
    _, run, model, _ = found
    test = run.data.test
    hostile = "</td><script>alert(1)</script> zqxj"
    texts = [hostile, *test.texts[1:]]
    report = figures(
        model,
        run.data.__class__(
            **{**vars(run.data), "test": LabelledQueries(test.ids, texts, test.counts, test.gold)}
        ),
        {"<b>teacher</b>": curves(np.ones(test.gold.shape), test, model.taxonomy)},
        [(10, 0.1), (40, 0.2)],
        None,
    )
    report["errors"]["wrong topic"]["examples"].insert(
        0, {"text": hostile, "gold": ["VE"], "emitted": ["TR"]}
    )
    text = page(report)
    assert checked(text).tags["script"] == 1
    assert "More labels" in text
    assert "&lt;b&gt;teacher" in text


def test_comparison_with_itself_and_with_another(found):
    _, run, model, _ = found
    same = compare(model, model, run.data.test)
    assert (same["changed"], same["better"], same["worse"], same["queries"]) == (0, 0, 0, [])
    assert same["interval"] == [0, 0]
    artifact = model.artifact
    silent = topiccore.TopicModel(
        type(artifact)(
            **{
                **vars(artifact),
                "thresholds": np.full_like(artifact.thresholds, np.inf),
                "beside": None,
                "path": None,
            }
        )
    )
    changed = compare(model, silent, run.data.test)
    emitted = sum(bool(answer) for answer in model.score_batch(run.data.test.texts))
    assert changed["changed"] == emitted
    assert changed["better"] + changed["worse"] <= emitted
    assert changed["difference"] > 0
    assert changed["interval"][0] <= changed["difference"] <= changed["interval"][1]
    gains = [query["gain"] for query in changed["queries"]]
    assert gains == sorted(gains)


# --- curves of others ----------------------------------------------------------------------------


def test_curves_are_kept_in_a_file(tmp_path):
    path = tmp_path / "curves.json"
    one = curves(np.ones((2, 3)), labelled([[1, 1, 0], [0, 0, 1]]), TAXONOMY)
    assert read_curves(path, "sum") == {}
    add_curves(path, "sum", {"teacher": one})
    add_curves(path, "sum", {"fastText": one})
    assert read_curves(path, "sum") == {"fastText": one, "teacher": one}
    # Of other test queries, they say nothing.
    assert read_curves(path, "other") == {}
    add_curves(path, "other", {"fastText": one})
    assert list(read_curves(path, "other")) == ["fastText"]
    path.write_text("[]")
    with pytest.raises(DataError, match="no file of curves"):
        read_curves(path, "sum")


# --- charts --------------------------------------------------------------------------------------


def test_charts_stay_inside_and_are_labelled():
    chart = line_chart({"a & b": [(-1, 0.5), (2, 0.7)]}, (0, 1), (0, 1), ("x < y", "p"), guide=0.9)
    heat = heat_map(["A", "B"], [[3, 1], [0, 2]])
    bars = bar_chart([("0.1", 0.5, "half & half")], ("score", "share"))
    for svg in (chart, heat, bars):
        checked(svg)
        assert 'role="img"' in svg
    for x, y in re.findall(r"([\d.]+),([\d.]+)", re.search(r'points="([^"]+)"', chart)[1]):
        assert 0 <= float(x) <= 360
        assert 0 <= float(y) <= 260
    assert "A taken for B: 1" in heat
    assert "B: 2 right" in heat


# --- the command ---------------------------------------------------------------------------------


def test_report_of_two_artifacts(project, tmp_path, capsys):  # noqa: F811
    assert train(project) == 0
    first = project / "first"
    (project / "run" / "artifact").rename(first)
    assert train(project, l2="0.9") == 0
    capsys.readouterr()
    arguments = ["--config", str(project / "topiccore.toml"), "--model"]
    arguments += [str(project / "run" / "artifact"), "-o", str(tmp_path / "out")]
    assert main(["report", *arguments, "--against", str(first)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["measured_on"] == "validation queries"
    assert report["comparison"]["previous"] == topiccore.load(first).id
    assert "Against" in (tmp_path / "out" / "report.html").read_text()


def test_report_of_another_taxonomy(project, artifact_path, tmp_path, capsys):  # noqa: F811
    arguments = ["--config", str(project / "topiccore.toml"), "--model", str(artifact_path)]
    assert main(["report", *arguments, "-o", str(tmp_path / "out")]) == 1
    assert "its taxonomy is not that of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
