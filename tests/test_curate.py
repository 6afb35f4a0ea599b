"""What to label next and which labels to doubt: on made-up scores, and from files to files."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from test_own_data import codes, dataset, project, train, written  # noqa: F401
from training_support import open_run, queries, quiet, trained

import topiccore
from topiccore import Taxonomy, TaxonomyLabel, TopicModel
from topiccore.cli import main
from training.doubts import find_doubts, out_of_fold
from training.init_command import made_up
from training.labels import LabelledQueries
from training.suggestions import suggest

TAXONOMY = Taxonomy(
    [TaxonomyLabel("A", "A", None), TaxonomyLabel("A1", "A1", "A"), TaxonomyLabel("B", "B", None)]
)


# --- suggestions ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder, config, _ = trained(tmp_path_factory)
    return open_run(folder, config), topiccore.load(folder / "artifact")


def test_suggested_texts_are_less_sure_than_others(real):
    _, model = real
    texts = list(queries().values())[:6000]
    none = np.zeros(len(model.taxonomy), bool)
    found = suggest(model, texts, none, 50, 7)
    assert len(found) == len({item.text for item in found}) == 50
    assert {item.text for item in found} <= set(texts)

    def sureness(chosen):
        best = [
            answer[0].score if answer else 0 for answer in model.score_batch(chosen, min_score=0)
        ]
        return np.mean(np.abs(np.array(best) - 0.5))

    assert sureness([item.text for item in found]) < 0.6 * sureness(texts)
    again = suggest(model, texts, none, 50, 7)
    assert again == found
    topics = {item.labels[0][0][:2] for item in found if item.labels}
    assert len(topics) > 10


def test_labels_short_of_evidence_come_first(real):
    _, model = real
    texts = list(queries().values())[:6000]
    short = np.array([label.code == "PA01" for label in model.taxonomy])
    found = suggest(model, texts, short, 30, 7)
    said = [item for item in found if item.reason.startswith("PA01 is short of examples")]
    assert len(said) >= 2
    assert all("PA01" in [code for code, _ in item.labels] for item in said)


@pytest.mark.parametrize(("texts", "count"), [([], 5), (["dogs"], 5), (["dogs", "zqxj wvvb"], 2)])
def test_few_texts(real, texts, count):
    _, model = real
    found = suggest(model, texts, np.zeros(len(model.taxonomy), bool), count, 7)
    assert sorted(item.text for item in found) == sorted(texts)
    assert all(item.reason for item in found)


# --- doubts --------------------------------------------------------------------------------------


def labelled(gold) -> LabelledQueries:
    names = [f"text {i}" for i in range(len(gold))]
    return LabelledQueries(names, names, np.ones(len(gold), np.int64), np.array(gold, bool))


def test_only_doubtful_labels_are_listed():
    # A1 and B in turn, each found by its scores; rows 4 and 9 have the other's labels.
    a1, b = [1, 1, 0], [0, 0, 1]
    gold = [[a1, b][row % 2] for row in range(40)]
    scores = np.where(np.array(gold, bool), 0.95, 0.05).astype(np.float32)
    # Not sure, yet of the same opinion: no doubt.
    scores[20] = [0.6, 0.55, 0.4]
    gold[4], gold[9] = b, a1
    scores[9] = [0.04, 0.04, 0.97]
    scores[4] = [0.97, 0.97, 0.01]
    found = find_doubts(labelled(gold), scores, TAXONOMY, 10)
    assert [(item.text, item.given, item.likely) for item in found] == [
        ("text 4", ("B",), ("A1",)),
        ("text 9", ("A1",), ("B",)),
    ]
    assert found[0].quality < found[1].quality
    assert find_doubts(labelled(gold), scores, TAXONOMY, 1) == found[:1]


def test_no_doubts():
    gold = [[1, 1, 0], [0, 0, 1], [0, 0, 0]] * 5
    scores = np.where(np.array(gold, bool), 0.9, 0.1).astype(np.float32)
    assert find_doubts(labelled(gold), scores, TAXONOMY, 10) == []


def test_every_fold_is_scored_by_a_student_of_the_others():
    gold = labelled(np.zeros((10, 3)))
    seen = []

    def fit(part):
        return lambda texts: (
            seen.append((set(part.texts), set(texts))) or np.full((len(texts), 3), 0.5)
        )

    scores = out_of_fold(gold, fit, 3, 1, quiet)
    assert (scores == 0.5).all()
    assert all(not learned & scored for learned, scored in seen)
    assert set.union(*(scored for _, scored in seen)) == set(gold.texts)


# --- from files to files -------------------------------------------------------------------------


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def fill_in(path, codes):
    rows = table(path)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"labels": codes.get(row["text"], "")})


def run_on(project, command, *more):  # noqa: F811
    settings = str(project / "topiccore.toml")
    return main([command, "--config", settings, "--out", str(project / "run"), *more])


def test_suggestions_are_fed_back(project, capsys):  # noqa: F811
    pool = ["flights to mars", "ferry to rhodes", "who sells tickets", "paella tips"]
    written(project, "pool.txt", "\n".join(pool))
    assert train(project, unlabelled='"pool.txt"') == 0
    output = project / "more.csv"
    assert run_on(project, "suggest", "-n", "3", "-o", str(output)) == 0
    rows = table(output)
    assert len(rows) == 3
    assert {row["text"] for row in rows} <= set(pool)
    assert all(row["labels"] == "" and row["reason"] for row in rows)
    assert run_on(project, "suggest", "-o", str(output)) == 1
    assert "it may have been filled in" in capsys.readouterr().err
    fill_in(output, {rows[0]["text"]: "TR1 FD2"})
    assert train(project, filled_in='"more.csv"') == 0
    told = capsys.readouterr().err
    assert "2 rows without labels skipped" in told
    assert ", 0 test queries, 3 unlabelled" in told
    data = dataset(project)
    assert len(data.train) + len(data.validation) == len(made_up()) + 1


def test_wrong_labels_are_found_and_corrected(project, capsys):  # noqa: F811
    pytest.importorskip("cleanlab")
    rows = made_up()
    right = dict(rows)
    wrong = {rows[number][0]: "FD2" for number in (3, 40, 77)}
    held = rows[5::7]
    wrong[held[2][0]] = "FD2"
    lines = [f"{text},{wrong.get(text, code)}" for text, code in rows if (text, code) not in held]
    written(project / "labels", "example.csv", "text,labels\n" + "\n".join(lines))
    lines = [f"{text},{wrong.get(text, code)}" for text, code in held]
    written(project, "held.csv", "text,labels\n" + "\n".join(lines))
    assert train(project, validation='"held.csv"') == 0
    output = project / "doubts.csv"
    assert run_on(project, "doubts", "-n", "300", "-o", str(output)) == 0
    told = capsys.readouterr().out
    found = {row["text"]: row for row in table(output)}
    assert f"of {len(rows)} labelled queries no other is doubtful" in told
    assert set(wrong) <= set(found)
    assert len(found) < 20
    assert all(found[text]["likely"] == right[text] for text in wrong)
    assert all(row["likely"] != row["given"] for row in found.values())
    fill_in(output, {text: right[text] for text in wrong})
    assert train(project, filled_in='"doubts.csv"') == 0
    told = capsys.readouterr().err
    assert f"{len(rows) - len(held)} training queries" in told
    data = dataset(project)
    both = data.train.joined(data.validation)
    corrected = dict(zip(both.texts, codes(data, both), strict=True))
    assert all(corrected[text][-1] == right[text] for text in wrong)


def test_suggest_without_texts_to_choose_from(project, tmp_path, capsys):  # noqa: F811
    assert train(project, unlabelled='""') == 0
    assert run_on(project, "suggest", "-o", str(tmp_path / "x.csv")) == 1
    assert "data.unlabelled names no texts" in capsys.readouterr().err


def test_suggest_for_another_taxonomy(project, tmp_path, capsys):  # noqa: F811
    assert train(project) == 0
    written(project, "pool.txt", "something")
    text = (project / "taxonomy.csv").read_text() + "XX,Other,,\n"
    written(project, "taxonomy.csv", text)
    written(project / "labels", "other.csv", "text,labels\nother thing,XX\nother one,XX\n")
    settings = (project / "topiccore.toml").read_text()
    written(project, "topiccore.toml", settings.replace('"unlabelled.txt"', '"pool.txt"'))
    assert run_on(project, "suggest", "-o", str(tmp_path / "x.csv")) == 1
    assert "is of another taxonomy" in capsys.readouterr().err


def test_an_answer_of_a_model_is_not_needed_to_be_unknown(artifact):
    # A model without any row for the words still gives a reason.
    empty = TopicModel(replace(artifact, bias=np.full(len(artifact.taxonomy), -9, np.float32)))
    (found,) = suggest(empty, ["qwxz"], np.zeros(len(artifact.taxonomy), bool), 1, 0)
    assert found.reason == "no likely label; 1 unknown words"
