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
from training.report.answers import Answers, answers_of, told_codes
from training.report.charts import Row, bar_chart, heat_map, interval_chart, line_chart, style
from training.report.comparison import compare
from training.report.confusions import confusions
from training.report.curves import POINTS, add_curves, curves, read_curves
from training.report.errors import EXTRA, KINDS, NOT_ANY, NOTHING, SUBTOPIC, TOPIC, errors, kind_of
from training.report.figures import SCHEMA, THIS_MODEL, figures
from training.report.groups import by_length, by_unknown_tokens
from training.report.intervals import clopper_pearson, ratio, resampled, wilson
from training.report.page import _confusions as confusions_part
from training.report.page import _topics as topics_part
from training.report.page import page
from training.report.per_label import ENOUGH, below_target
from training.report.reliability import reliability

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
        self.fetched += [
            value
            for name, value in attributes
            if name in ("src", "href") and value and not value.startswith("#")
        ]

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


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # With none or all right the bounds are powers of 0.025; (81, 263) is textbook.
    [(0, 10, 0, 1 - 0.025**0.1), (10, 10, 0.025**0.1, 1), (81, 263, 0.2527, 0.3676), (0, 0, 0, 1)],
)
def test_exact_intervals(right, count, low, high):
    assert clopper_pearson(right, count) == pytest.approx((low, high), abs=1e-4)


def test_labels_shown_to_be_below_the_target():
    def row(code, right, emitted):
        found = {"emitted": emitted, "right": right, "interval": clopper_pearson(right, emitted)}
        return {"code": code, "on_validation": found}

    rows = [row("few", 1, 3), row("many", 60, 100), row("good", 95, 100), row("none", 0, 0)]
    assert below_target([*rows, {"code": "unknown", "on_validation": None}], 0.9) == ["many"]


def test_ratios_of_nothing_are_nothing():
    assert ratio(1, 3) == 0.3333
    assert ratio(0, 0) is None


def test_resampled_queries_are_as_many_as_there_are():
    draws = np.concatenate(list(resampled(7)))
    assert draws.shape == (1000, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert draws.mean() == 1
    assert len(np.unique(draws, axis=0)) > 500


def answered(emitted, scores=None, tokens=None, unknown=None) -> Answers:
    emitted = np.array(emitted, bool)
    count = len(emitted)
    return Answers(
        np.array(emitted if scores is None else scores, np.float32),
        emitted,
        np.array([1] * count if tokens is None else tokens),
        np.array([0] * count if unknown is None else unknown),
    )


@pytest.mark.parametrize(
    ("emitted", "gold", "kind"),
    [
        ("", "", None),
        ("", "A", NOTHING),
        ("A", "", NOT_ANY),
        ("A", "A", None),
        ("A", "A A1", None),  # less than all is no error of what is emitted
        ("B", "A A1", TOPIC),
        ("A A1", "A", SUBTOPIC),
        ("A A1", "A A2", SUBTOPIC),
        ("A A1 A2", "A A2", EXTRA),
        ("A B", "A", EXTRA),
        ("A B B1", "A A2", EXTRA),  # the wrong subtopic is not one of the right topic
    ],
)
def test_kinds_of_errors(emitted, gold, kind):
    taxonomy = Taxonomy(
        [
            *(TaxonomyLabel("A", "A", None), TaxonomyLabel("A1", "A1", "A")),
            *(TaxonomyLabel("A2", "A2", "A"), TaxonomyLabel("B", "B", None)),
            TaxonomyLabel("B1", "B1", "B"),
        ]
    )
    row = [np.isin([x.code for x in taxonomy], codes.split()) for codes in (emitted, gold)]
    assert kind_of(*row, taxonomy) == kind
    assert told_codes(row[0], taxonomy) == [
        code
        for code in emitted.split()
        if not any(x != code and code in x for x in emitted.split())
    ]


def test_errors_tell_the_label_that_matters_and_the_most_asked_first():
    gold = [[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    emitted = [[0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 1]]
    scores = [[0.2, 0.3, 0.8], [0.1, 0.0, 0.9], [0.1, 0.4, 0.3], [0, 0, 0.9]]
    found = errors(labelled(gold, [2, 5, 3, 1]), answered(emitted, scores), TAXONOMY)
    assert list(found) == list(KINDS)
    wrong = found[TOPIC]
    assert (wrong["count"], wrong["traffic"]) == (2, 7)
    assert [x["text"] for x in wrong["examples"]] == ["text 1", "text 0"]
    assert wrong["examples"][1] == {
        "text": "text 0",
        "traffic": 2,
        "gold": ["A1"],
        "emitted": ["B"],
        "label": "B",
        "score": 0.8,
    }
    assert found[NOTHING]["examples"][0]["label"] == "A1"
    assert found[NOTHING]["examples"][0]["score"] == 0.4
    assert found[EXTRA] == {"count": 0, "traffic": 0, "examples": []}


def test_confusions_by_hand():
    gold = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    emitted = [[0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    found = confusions(np.array(emitted, bool), np.array(gold, bool), TAXONOMY)
    assert found["topics"] == ["A", "B"]
    #   emitted: A  B  -       gold:
    assert found["matrix"] == [
        [1, 1, 0],  # A: right once, once B in its place; B beside A is in nothing's place
        [0, 0, 1],  # B: nothing is emitted for it
        [1, 0, 1],  # no topic
    ]
    assert found["commonest"] == [["-", "A", 1], ["-", "A1", 1], ["A", "B", 1]]


def test_groups_by_hand():
    emitted = [[1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]]
    gold = [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 0]]
    queries = labelled(gold, [4, 1, 1, 1, 1])
    answers = answered(emitted, tokens=[3, 3, 3, 9, 0], unknown=[0, 1, 2, 4, 0])
    by_tokens = {x["group"]: x for x in by_length(queries, answers)}
    assert list(by_tokens) == ["0", "3", "6 or more"]
    assert by_tokens["3"]["queries"] == 3
    assert by_tokens["3"]["coverage"] == 0.6667
    assert by_tokens["3"]["traffic_coverage"] == 0.8333
    assert by_tokens["3"]["precision"] == 0.6667
    assert by_tokens["0"]["precision"] is None
    unknown = by_unknown_tokens(queries, answers)
    assert [(x["group"], x["queries"]) for x in unknown] == [
        ("none", 2),
        ("up to a third", 1),  # exactly a third
        ("up to a half", 1),
        ("more than half", 1),
    ]


def test_reliability_by_hand():
    scores = np.array([[0.05, 0.95], [0.05, 1.0], [0.42, 0.96]])
    rows = reliability(scores, np.array([[0, 1], [0, 1], [1, 0]], bool))
    assert [(x["from"], x["to"], x["count"], x["right"]) for x in rows] == [
        *((0.0, 0.1, 2, 0.0), (0.4, 0.5, 1, 1.0)),
        (0.9, 1.0, 3, 0.6667),
    ]
    assert rows[2]["mean_score"] == 0.97
    assert all(x["interval"][0] <= x["right"] <= x["interval"][1] for x in rows)


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
            assert row["f1"] == pytest.approx(
                2 * row["right"] / (row["emitted"] + row["gold"]), abs=1e-4
            )
        if row["threshold"] is not None and row["threshold_beside"] is not None:
            assert row["threshold"] <= row["threshold_beside"] + 1e-4
    scores = answers_of(model, run.data.test).scores
    enough = (scores >= 0.05).sum(axis=0) >= ENOUGH
    assert [row["calibration_error"] is not None for row in report["per_label"]] == enough.tolist()
    assert 0 < enough.sum() < 356
    support = run.data.validation.gold.sum(axis=0).tolist()
    assert [row["validation"] for row in report["per_label"]] == support
    told = np.zeros(run.data.validation.gold.shape, bool)
    for row, answer in zip(told, model.score_batch(run.data.validation.texts), strict=True):
        row[[model.taxonomy.index_of(label.code) for label in answer]] = True
    shown = [row["on_validation"] for row in report["per_label"]]
    assert [x["emitted"] for x in shown] == told.sum(axis=0).tolist()
    assert [x["right"] for x in shown] == (told & run.data.validation.gold).sum(axis=0).tolist()
    assert all(
        x["interval"][0] <= x["precision"] <= x["interval"][1] for x in shown if x["emitted"]
    )
    below = report["below_target"]
    assert below["target"] == 0.7
    assert below["labels"] == below_target(report["per_label"], 0.7)
    once = report["quality"]["topics"]["queries"]["coverage_at_90"]
    assert report["coverage_at_90"][THIS_MODEL]["topics"]["queries"] == once
    assert report["sums"] == run.data.sums
    never = {row["code"] for row in report["per_label"] if row["never"]}
    assert never == set(model.training["labels_never_emitted"])
    assert any(row["never"] and "are asked for" in row["never"] for row in report["per_label"])
    assert sum(group["queries"] for group in report["by_length"]) == 999
    assert sum(group["queries"] for group in report["by_unknown_tokens"]) == 999
    assert sum(b["count"] for b in report["reliability"]) == 999 * 356
    emitted = sum(bool(answer) for answer in answers)
    labelled_queries = int(run.data.test.gold.any(axis=1).sum())
    errors = report["errors"]
    assert errors["nothing emitted"]["count"] <= 999 - emitted
    assert errors["wrong topic"]["count"] < labelled_queries
    matrix = report["confusions"]["matrix"]
    diagonal = sum(row[place] for place, row in enumerate(matrix[:-1]))
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
    assert tags["svg"] == 6 + 2 + 1 + 2
    assert tags["tr"] > 356
    assert model.id in text
    assert "{{" not in text
    once = report["quality"]["all labels"]["queries"]
    assert f"{once['precision']:.1%}" in text
    assert "prefers-color-scheme: dark" in text
    # Every link leads somewhere, and every field has the table it filters.
    links, ids = (
        set(re.findall(pattern, text)) for pattern in (r'href="#(\w+)"', r'id="([\w-]+)"')
    )
    assert links
    assert links | set(re.findall(r'data-table="([\w-]+)"', text)) <= ids


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
    for text in (hostile, "{{sections}} {{lead}} {{nothing}}"):
        report["errors"]["wrong topic"]["examples"].insert(
            0, {**report["errors"]["wrong topic"]["examples"][0], "text": text}
        )
    text = page(report)
    assert checked(text).tags["script"] == 1
    assert "What more labels would bring" in text
    assert "&lt;b&gt;teacher" in text
    assert "{{nothing}}" in text
    assert text.count("<h2>") == text.count("<section")


def test_the_page_has_no_precision_of_nothing(found):
    report = json.loads(json.dumps(found[3]))
    for weighting in ("queries", "traffic"):
        report["quality"]["topics"][weighting] |= {"precision": 1.0, "coverage": 0.0}
    (tile,) = re.findall(r"<small>topics</small>(.*?)</div>", page(report))
    assert "<b>–</b> precision" in tile
    assert "by traffic –, 0.0%" in tile
    assert "100.0%" not in tile


def test_the_page_tells_what_is_promised_and_what_is_below(found):
    report = json.loads(json.dumps(found[3]))
    assert "promised for all emitted labels together" in page(report)
    code = report["per_label"][5]["code"]
    report["below_target"]["labels"] = [code]
    text = page(report)
    checked(text)
    assert "1 label shown to be below the target of 70%" in text
    assert re.search(rf'data-tags="[^"]*below"><td>[^<]*</td><td>{re.escape(code)}<', text)


def test_the_teacher_is_drawn_however_many_scorers_there_are(found):
    _, _, _, report = found
    own = report["curves"][THIS_MODEL]
    many = {**report, "curves": {THIS_MODEL: own, **{f"peer {n}": own for n in range(20)}}}
    many["curves"]["teacher"] = own
    shown = re.findall(r'<i class="[^"]+"></i>([^<]+)', page(many).split("<svg", 1)[0])
    assert shown[:3] == [THIS_MODEL, "teacher", "peer 0"]
    assert len(shown) == 12 + 1  # and the point of its own thresholds


def test_comparison_with_itself_and_with_another(found):
    _, run, model, report = found
    test = run.data.test
    own = answers_of(model, test)
    same = compare(model, own, model, test)
    assert (same["changed"], same["better"], same["worse"], same["queries"]) == (0, 0, 0, [])
    assert same["p_value"] == 1
    assert same["labels"] == []
    for by_weighting in same["differences"].values():
        for figure in by_weighting["traffic"].values():
            assert figure == {"difference": 0, "interval": [0, 0]}
    assert "Every answer is the same" in page({**report, "comparison": same})
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
    changed = compare(model, own, silent, test)
    emitted = int(own.emitted.any(axis=1).sum())
    assert changed["changed"] == emitted
    assert changed["better"] + changed["worse"] <= emitted
    assert changed["better"] > changed["worse"]
    assert changed["p_value"] < 0.05
    coverage = changed["differences"]["all labels"]["queries"]["coverage"]
    assert coverage["difference"] == pytest.approx(emitted / 999, abs=1e-4)
    precision = changed["differences"]["all labels"]["queries"]["precision"]
    now = report["quality"]["all labels"]["queries"]["precision"]
    assert precision["difference"] == pytest.approx(now - 1, abs=1e-4)
    for figure in (coverage, precision):
        assert figure["interval"][0] < figure["difference"] < figure["interval"][1]
    right = (own.emitted & test.gold).sum(axis=0)
    gained = {x["code"]: x for x in changed["labels"]}
    for place, label in enumerate(model.taxonomy):
        if right[place]:
            assert gained[label.code]["right_gained"] == right[place]
    assert all(x["right_lost"] == x["wrong_lost"] == 0 for x in gained.values())
    gains = [query["gain"] for query in changed["queries"]]
    assert gains == sorted(gains)
    text = page({**report, "comparison": changed})
    checked(text)
    assert f"{emitted:,} of 999 answers differ" in text


def test_interval_of_a_difference_by_hand(found, monkeypatch):
    _, run, model, _ = found
    test = run.data.test.take(range(3))
    own = answers_of(model, test)
    everything = Answers(own.scores, np.ones_like(own.emitted), own.tokens, own.unknown)
    draws = [np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]])]
    monkeypatch.setattr("training.report.comparison.resampled", lambda queries: iter(draws))
    monkeypatch.setattr("training.report.comparison.answers_of", lambda *_: own)
    found_now = compare(model, everything, model, test)["differences"]["all labels"]["queries"]
    covered = own.emitted.any(axis=1)
    per_draw = [1 - (row * covered).sum() / row.sum() for row in draws[0]]
    expected = np.percentile(per_draw, [2.5, 97.5])
    assert found_now["coverage"]["interval"] == pytest.approx(expected, abs=1e-4)


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
    chart = line_chart(
        {"a & b": [(-1, 0.5), (2, 0.7)]},
        (0, 1),
        (0, 1),
        ("x < y", "p"),
        guide=0.9,
        whiskers=[(0.5, -3, 4)],
        dots=True,
    )
    names = {"A": "Arts & more", "B": "Books", "-": "none"}
    heat = heat_map(["A", "B", "-"], [[3, 1, 7], [0, 2, 0], [4, 0, 5]], names, ("gold", "told"))
    bars = bar_chart([("0.1", 0.5, "half & half")], ("score", "share"))
    rows = [Row("A long name of <a topic> to be cut", 0.5, 0.4, 0.6, 0.1, "all of it & more")]
    rows.append(Row("B", None, 0, 1, None, "never emitted"))
    for svg in (chart, heat, bars, interval_chart(rows, 0.9, "t")):
        checked(svg)
        assert 'role="img"' in svg
        width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
        for axis, size in (("x", width), ("y", height)):
            found = re.findall(rf' (?:{axis}[12]?|c{axis})="([\d.]+)"', svg)
            assert found
            assert all(0 <= float(place) <= size for place in found)
    for x, y in re.findall(r"([\d.]+),([\d.]+)", re.search(r'points="([^"]+)"', chart)[1]):
        assert 0 <= float(x) <= 360
        assert 0 <= float(y) <= 260
    assert "Arts &amp; more taken for Books: 1" in heat
    assert "Books: 2 right" in heat
    assert "none taken for Arts &amp; more: 4" in heat
    assert "Arts &amp; more: 7 not emitted" in heat
    assert "…" in interval_chart(rows, 0.9, "t")


def test_pictures_of_many_topics_have_the_ones_that_matter():
    codes = [f"customer-{n:03}" for n in range(60)]
    matrix = np.diag(np.arange(61))
    matrix[55, 3] = 9
    rows = [
        {
            "code": code,
            "gold": 60 - n,
            "emitted": 2,
            "right": 1,
            "precision": 0.5,
            "interval": [0.1, 0.9],
            "recall": n / 60,
        }
        for n, code in enumerate(codes)
    ]
    figures = {
        "labels": [{"code": code, "name": code, "topic": True} for code in codes],
        "per_label": rows,
        "confusions": {"topics": codes, "matrix": matrix.tolist(), "commonest": []},
    }
    names = {code: code for code in codes}
    topics, map_ = topics_part(figures, names), confusions_part(figures, names)
    assert "The 40 most frequent of 60" in topics
    assert topics.count("<g>") == 40
    assert topics.count("<svg") == 2
    few = {**figures, "per_label": rows[:5]}
    assert topics_part(few, names).count("<svg") == 1
    assert "customer-000: 60 queries" in topics
    assert "customer-040: " not in topics
    assert "customer-055 taken for customer-003: 9" in map_
    assert map_.count('class="heat"') == 40 + 1
    assert "rotate(-90)" in map_
    checked(topics)
    checked(map_)


def test_lines_beyond_the_colours_are_dashed():
    assert [style(number) for number in (0, 5, 6)] == ["c0", "c5", "c0 dashed"]
    assert len({style(number) for number in range(12)}) == 12


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
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Against another model" in text
    assert "look better than they are" in text


def test_report_of_another_taxonomy(project, artifact_path, tmp_path, capsys):  # noqa: F811
    arguments = ["--config", str(project / "topiccore.toml"), "--model", str(artifact_path)]
    assert main(["report", *arguments, "-o", str(tmp_path / "out")]) == 1
    assert "its taxonomy is not that of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_report_on_a_table_of_labels(project, tmp_path, capsys):  # noqa: F811
    assert train(project) == 0
    model = topiccore.load(project / "run" / "artifact")
    topic = model.taxonomy.topics[0].code
    table = written(tmp_path, "new.csv", f"text,labels,count\nsome words,{topic},3\nothers,-,1\n")
    capsys.readouterr()
    arguments = ["--labels", str(table), "--model", str(project / "run" / "artifact")]
    assert main(["report", *arguments, "-o", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["measured_on"], report["queries"], report["traffic"]) == ("test queries", 2, 4)
    assert list(report["sums"]) == [str(table)]
    row = next(row for row in report["per_label"] if row["code"] == topic)
    assert (row["gold"], row["train"], row["validation"]) == (1, None, None)
    checked((tmp_path / "out" / "report.html").read_text())
    table.write_text("text,labels\nsome words,NOT-A-CODE\n")
    assert main(["report", *arguments, "-o", str(tmp_path / "out2")]) == 1
    assert "new.csv:2" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()
