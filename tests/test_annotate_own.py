"""The teacher on data of one's own: what it annotates is what training takes."""

from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from test_own_data import change, dataset, project, train, written  # noqa: F401

import topiccore
from topiccore.cli import main
from training.init_command import made_up, made_up_unlabelled
from training.stored_examples import StoredExamples

pytest.importorskip("torch")
pytest.importorskip("transformers")

from training import annotate as annotate_module
from training import encoder

CODES = ["TR", "TR1", "TR2", "FD", "FD1", "FD2"]


class StandIn:
    """Knows the labels of what it learned; of other texts it says TR, and a little of FD."""

    key = "stand-in"

    def __init__(self, data):
        self.labelled, self.taxonomy = data.train, data.taxonomy
        self.gold = dict(zip(data.train.texts, data.train.gold, strict=True))
        self.out_of_fold_scores = None

    def fit(self):
        self.out_of_fold_scores = sp.csr_matrix(0.9 * self.labelled.gold, dtype=np.float32)

    def member_logits(self, name):
        return np.where(self.labelled.gold, 2, -4).astype(np.float32)

    @contextmanager
    def workers(self, processes):
        yield

    def score_texts(self, texts, what):
        other = np.array([0.75, 0, 0, 0.02, 0, 0], np.float32)
        for part in encoder.parts(texts):
            yield sp.csr_matrix(np.stack([self.gold.get(text, other) for text in part]) + 0.0)


@pytest.fixture
def taught(monkeypatch):
    """Puts the stand-in in the teacher's place; holds what each learned from."""
    seen = []

    def make(settings, data, cache, report):
        seen.append(data)
        return StandIn(data)

    monkeypatch.setattr(annotate_module, "make_teacher", make)
    return seen


def annotate(project, *more):  # noqa: F811
    return main(["annotate", "--config", str(project / "topiccore.toml"), *more])


def test_own_texts_are_annotated_for_training(project, taught, capsys):  # noqa: F811
    change(project, texts='"annotated.parquet"')  # which is not there yet
    assert annotate(project) == 0
    path = project / "annotated.parquet"
    assert f"{path}: name it in [annotations] texts and train again" in capsys.readouterr().out
    stored = StoredExamples((path,), tuple(CODES), 1.0, frozenset())
    (batch,) = stored.batches([1], 10_000)
    pool = [text for text in made_up_unlabelled() if text not in dict(made_up())]
    assert sorted(batch.texts) == sorted(pool)
    assert np.allclose(batch.targets.toarray(), [0.75, 0, 0, 0, 0, 0])
    validation = set(dataset(project).validation.texts)
    assert validation
    assert validation.isdisjoint(taught[0].train.texts)
    assert train(project) == 0
    assert f"{len(pool)} annotated texts in 1 files" in capsys.readouterr().err
    before = topiccore.load(project / "run" / "artifact")
    assert train(project, texts='""') == 0
    after = topiccore.load(project / "run" / "artifact")
    queries = ["weekend in oslo", "riga by train"]
    assert (before.logits(queries)[:, 0] > after.logits(queries)[:, 0]).all()


def test_test_queries_are_measured_and_no_curve_is_kept(project, taught, monkeypatch):  # noqa: F811
    monkeypatch.setattr(annotate_module, "add_curves", lambda *_: pytest.fail("kept"))
    written(project, "test.csv", "text,labels\nflights to mars,TR1\nnothing at all,-\n")
    change(project, test='"test.csv"')
    figures = project / "figures.json"
    arguments = ("--measure", "--report", str(figures), "--output", str(project / "x.parquet"))
    assert annotate(project, *arguments) == 0
    assert '"test"' in figures.read_text()
    assert (project / "x.parquet").exists()


def test_what_cannot_be_annotated_is_told_before_anything_is_fetched(
    project,  # noqa: F811
    monkeypatch,
    capsys,
):
    monkeypatch.setattr(encoder, "fetch", lambda *_: pytest.fail("fetched"))
    assert annotate(project, "--measure") == 1
    assert "data.test names no file" in capsys.readouterr().err
    change(project, unlabelled='""')
    assert annotate(project) == 1
    assert 'data.unlabelled is "": name the texts' in capsys.readouterr().err
    written(project, "pool.txt", made_up()[0][0])
    change(project, unlabelled='"pool.txt"')
    assert annotate(project) == 1
    assert "data.unlabelled has no texts to annotate" in capsys.readouterr().err
    written(project, "pool.txt", "something else")
    rows = [f"{text},{code}" for text, code in made_up()[::6]]
    written(project / "labels", "example.csv", "text,labels\n" + "\n".join(rows))
    assert annotate(project) == 1
    assert "training queries; a teacher needs 100 or more" in capsys.readouterr().err
