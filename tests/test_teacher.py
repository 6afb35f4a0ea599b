"""The teacher's parts on small material: batches, members, neighbours, stacker, the whole."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from topiccore.taxonomy import Taxonomy, TaxonomyLabel
from training.errors import ConfigError, TrainingError
from training.labels import LabelledQueries
from training.teacher_config import DEFAULT_TEACHER, read_teacher_config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from training import teacher as teacher_module  # noqa: E402
from training.encoder import SPLIT, EncodedQueries, equal_length_batches  # noqa: E402
from training.members import Dense, FineTuned, Ngrams, prior_logits  # noqa: E402
from training.stacker import Neighbours, Stacker  # noqa: E402

TAXONOMY = Taxonomy(
    [
        TaxonomyLabel("A", "Animals", None),
        TaxonomyLabel("A01", "Cats", "A"),
        TaxonomyLabel("A02", "Dogs", "A"),
        TaxonomyLabel("V", "Vehicles", None),
        TaxonomyLabel("V01", "Cars", "V"),
    ]
)
WORDS = {1: ["cat", "kitten", "siamese"], 2: ["dog", "puppy", "terrier"], 4: ["car", "ford", "bmw"]}
FILLERS = ["the", "best", "old", "cheap", "photos", "of", "for", "sale"]
WIDTH = 768 + 384


def quiet(_):
    """Takes a line of progress."""


@pytest.fixture(scope="module")
def config():
    text = DEFAULT_TEACHER.read_text(encoding="utf-8")
    for name, value in (("hidden", 32), ("min_count_characters", 1), ("trees", 20)):
        text = "\n".join(
            f"{name} = {value}" if line.startswith(f"{name} =") else line
            for line in text.splitlines()
        )
    return text


@pytest.fixture(scope="module")
def settings(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "teacher.toml"
    path.write_text(config, encoding="utf-8")
    return read_teacher_config(path)


@pytest.fixture(scope="module")
def labelled():
    """400 queries whose label is that of one of their words; vectors say so with noise."""
    rng = np.random.default_rng(3)
    texts, gold = [], np.zeros((400, len(TAXONOMY)), bool)
    vectors = rng.normal(size=(400, WIDTH)).astype(np.float32)
    for row in range(400):
        label = int(rng.choice([1, 2, 4]))
        gold[row, [label, TAXONOMY.parents[label]]] = True
        texts.append(f"{rng.choice(FILLERS)} {rng.choice(WORDS[label])} {rng.choice(FILLERS)}")
        vectors[row, label] += 30
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = rng.integers(3, 7, 400)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    hidden = rng.normal(size=(int(offsets[-1]), 32)).astype(np.float16)
    for row in range(400):
        hidden[offsets[row] : offsets[row + 1], int(np.flatnonzero(gold[row])[-1])] += 3
    queries = EncodedQueries(texts, vectors.astype(np.float16), hidden, offsets)
    return queries, gold


@pytest.fixture(scope="module")
def small_mpnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpnet")
    torch.manual_seed(0)
    shape = transformers.MPNetConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=SPLIT + 2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    transformers.MPNetModel(shape, add_pooling_layer=False).save_pretrained(folder)
    return folder


def accuracy(logits, gold):
    """The share of queries whose best subtopic is the right one."""
    leaves = [1, 2, 4]
    return (logits[:, leaves].argmax(axis=1) == gold[:, leaves].argmax(axis=1)).mean()


def test_settings_are_checked(config, tmp_path):
    path = tmp_path / "teacher.toml"
    path.write_text(config.replace("trees = 20", "trees = 0"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"stacker\.trees is 0"):
        read_teacher_config(path)
    path.write_text(config.replace("trees = 20", ""), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"stacker\.trees is missing"):
        read_teacher_config(path)


def test_key_changes_with_settings_and_data_but_not_with_the_pool(config, settings, tmp_path):
    path = tmp_path / "teacher.toml"
    path.write_text(config.replace("trees = 20", "trees = 21"), encoding="utf-8")
    assert read_teacher_config(path).key("a") != settings.key("a")
    path.write_text(config.replace("brands = 12_000", "brands = 0"), encoding="utf-8")
    assert read_teacher_config(path).key("a") == settings.key("a")
    assert settings.key("a") != settings.key("b")


def test_batches_of_equal_length_hold_every_row_once():
    lengths = np.array([3, 5, 3, 3, 9, 5])
    batches = [batch.tolist() for batch in equal_length_batches(lengths, 2)]
    assert batches == [[0, 2], [3], [1, 5], [4]]


def test_prior_logits_are_log_odds_of_the_shares():
    gold = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], bool)
    assert prior_logits(gold)[0].item() == pytest.approx(np.log(1 / 3), abs=1e-5)
    assert np.isfinite(prior_logits(gold)[1].item())


@pytest.mark.parametrize("kind", ["dense", "ngrams", "fine_tuned"])
def test_members_learn_and_come_back_from_their_state(kind, settings, labelled, small_mpnet):
    queries, gold = labelled
    labels = len(TAXONOMY)
    make = {
        "dense": lambda: Dense(settings.dense, labels, 1, quiet),
        "ngrams": lambda: Ngrams(settings.ngrams, labels, 1, quiet),
        "fine_tuned": lambda: FineTuned(settings.fine_tuned, labels, 1, small_mpnet, quiet),
    }[kind]
    rows, held = np.arange(0, 300), np.arange(300, 400)
    member = make()
    member.epochs = 30
    if kind == "fine_tuned":
        narrow = EncodedQueries(
            queries.texts, queries.vectors[:, :32], queries.hidden, queries.offsets
        )
        queries = narrow
    member.fit(queries, gold, rows)
    logits = member.logits(queries)
    assert accuracy(logits[held], gold[held]) > 0.9
    again = make()
    again.restore(member.state())
    np.testing.assert_allclose(again.logits(queries), logits, atol=1e-5)


def test_padding_does_not_change_a_fine_tuned_score(settings, labelled, small_mpnet):
    queries, _ = labelled
    member = FineTuned(settings.fine_tuned, len(TAXONOMY), 1, small_mpnet, quiet)
    member.network.eval()
    short = int(np.argmin(queries.lengths))
    long = int(np.argmax(queries.lengths))
    assert queries.lengths[short] < queries.lengths[long]
    with torch.inference_mode():
        alone = member._forward(queries, np.array([short])).numpy()
        together = member._forward(queries, np.array([long, short])).numpy()
    np.testing.assert_allclose(together[1], alone[0], atol=0.02)  # bfloat16


def test_neighbours_vote_by_similarity_and_not_for_themselves():
    vectors = np.array([[1, 0], [0.995, 0.1], [0, 1], [-1, 0]], np.float16)
    gold = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], bool)
    shares, nearest = Neighbours(vectors, gold, 2).votes(vectors, first=0)
    assert shares[0, 0] > 0.9
    assert nearest[0, 0] == pytest.approx(0.995, abs=1e-3)
    assert shares[2, 1] == 0
    shares, nearest = Neighbours(vectors, gold, 2).votes(vectors[2:3])
    assert shares[0, 1] > 0.9
    assert nearest[0, 1] == pytest.approx(1, abs=1e-3)


def test_stacker_sees_the_topic_and_the_rival():
    stacker = Stacker(
        SimpleNamespace(candidates=5, least=0.0), TAXONOMY, np.full(len(TAXONOMY), 0.2)
    )
    logits = np.array([[2.0, 1.0, -1.0, -2.0, -3.0]], np.float32)
    pairs = stacker.pairs([logits], (np.zeros_like(logits), np.zeros_like(logits)), ["old cat"])
    by_label = {int(label): row for label, row in zip(pairs.labels, pairs.features, strict=True)}
    assert by_label[1][:3].tolist() == [1.0, 2.0, -1.0]  # own logit, its topic's, best other
    assert by_label[2][:3].tolist() == [-1.0, 2.0, 1.0]
    assert by_label[0][:3].tolist() == [2.0, 1.0, 1.0]  # a topic sees its best subtopic
    assert by_label[0][0] == 2.0


def test_stacker_is_calibrated_where_members_are_not(settings):
    rng = np.random.default_rng(0)
    queries = 4000
    truth = rng.random((queries, len(TAXONOMY))) * np.array([1, 0.5, 0.5, 1, 0.5])
    gold = rng.random(truth.shape) < truth
    logits = (3 * np.log(truth / (1 - truth + 1e-9) + 1e-9)).astype(np.float32)  # overconfident
    votes = np.zeros_like(logits), np.zeros_like(logits)
    stacker = Stacker(settings.stacker, TAXONOMY, gold.mean(axis=0))
    pairs = stacker.pairs([logits], votes, ["a b"] * queries)
    scores = stacker.out_of_fold(pairs, gold, np.arange(queries) % 3)
    found, right = scores[pairs.rows, pairs.labels].A1, gold[pairs.rows, pairs.labels]
    for low in (0.2, 0.4, 0.6):
        chosen = (found >= low) & (found < low + 0.2)
        assert right[chosen].mean() == pytest.approx(found[chosen].mean(), abs=0.05)


class StandInEncoder:
    """Gives the vectors made for the test, as the real one gives its own."""

    def __init__(self, queries, folder):
        self.queries = queries
        self.mpnet_folder = folder

    def all(self, texts, what):
        return self.encode(texts)

    def encode(self, texts):
        rows = [self.queries.texts.index(text) for text in texts]
        lengths = self.queries.lengths[rows]
        tokens = [
            self.queries.hidden[self.queries.offsets[row] : self.queries.offsets[row + 1]]
            for row in rows
        ]
        return EncodedQueries(
            list(texts),
            self.queries.vectors[rows],
            np.concatenate(tokens),
            np.concatenate([[0], np.cumsum(lengths)]),
        )

    def key(self, texts):
        return f"{len(texts)}-{texts[0].replace(' ', '-')}"

    def unloaded(self, report):
        return self


@pytest.fixture
def make_teacher(settings, labelled, small_mpnet, tmp_path, monkeypatch):
    queries, gold = labelled
    first = {text: row for row, text in reversed(list(enumerate(queries.texts)))}
    rows = sorted(first.values())
    known = rows[:-10]
    train = LabelledQueries(
        [f"mq:{row}" for row in known],
        [queries.texts[row] for row in known],
        np.ones(len(known), int),
        gold[known],
    )
    encoder = StandInEncoder(queries, small_mpnet)
    monkeypatch.setattr(teacher_module, "QueryEncoder", lambda cache, report: encoder)
    monkeypatch.setattr(teacher_module, "MEMBERS", ("ngrams", "dense"))

    def make(lines):
        return teacher_module.Teacher(settings, TAXONOMY, train, "key", tmp_path, lines.append)

    return make, [queries.texts[row] for row in rows[-10:]], gold[rows[-10:]]


def test_teacher_scores_and_goes_on_where_it_was(make_teacher):
    make, texts, gold = make_teacher
    lines = []
    first = make(lines)
    first.fit()
    scores = sp.vstack(list(first.score_texts(texts, "new"))).toarray()
    assert scores.shape == gold.shape
    assert ((scores >= 0) & (scores <= 1)).all()
    assert accuracy(scores, gold) >= 0.8
    assert first.out_of_fold_scores.shape == first.labelled.gold.shape
    lines.clear()
    second = make(lines)
    second.fit()
    again = sp.vstack(list(second.score_texts(texts, "new"))).toarray()
    np.testing.assert_array_equal(again, scores)
    assert not lines  # nothing was trained or scored again


def test_processes_share_the_chunks_and_score_the_same(make_teacher, monkeypatch):
    make, texts, _ = make_teacher
    lines = []
    teacher = make(lines)
    teacher.fit()
    expected = teacher.score(teacher.encoder.encode(texts)).toarray()
    monkeypatch.setattr(teacher_module, "parts", lambda texts: (texts[i : i + 3] for i in (0, 3)))
    with teacher.workers(2):
        scores = sp.vstack(list(teacher.score_texts(texts, "new"))).toarray()
    assert lines[-2:] == ["annotating new: 3/10", "annotating new: 6/10"]
    np.testing.assert_array_equal(scores, expected[:6])
    lines.clear()
    with teacher.workers(2):
        assert len(list(teacher.score_texts(texts, "new"))) == 2
    assert not lines  # nothing was scored again


class StuckEncoder(StandInEncoder):
    """Never ends with texts that begin with ``stuck``."""

    stuck = None

    def encode(self, texts):
        while texts[0] == self.stuck:
            time.sleep(1)
        return super().encode(texts)


def test_a_lost_process_is_told_and_what_is_finished_is_kept(make_teacher, monkeypatch):
    make, texts, _ = make_teacher
    teacher = make([])
    teacher.fit()
    teacher.encoder = StuckEncoder(teacher.encoder.queries, teacher.encoder.mpnet_folder)
    teacher.encoder.stuck = texts[3]
    monkeypatch.setattr(teacher_module, "parts", lambda texts: (texts[i : i + 3] for i in (0, 3)))

    def lose_processes():
        with teacher.workers(2):
            scores = teacher.score_texts(texts, "new")
            assert next(scores).shape[0] == 3
            for process in list(teacher._executor._processes.values()):
                process.kill()
            next(scores)

    with pytest.raises(TrainingError, match=r"lost, perhaps .* with fewer"):
        lose_processes()
    teacher.encoder.stuck = None
    lines = []
    teacher.report = lines.append
    assert len(list(teacher.score_texts(texts, "new"))) == 2
    assert lines == ["annotating new: 6/10"]


def test_out_of_fold_logits_come_from_members_that_have_not_seen_the_query(make_teacher):
    make, *_ = make_teacher
    teacher = make([])
    teacher.fit()
    queries = teacher.encoder.all(teacher.labelled.texts, "labelled queries")
    kept = teacher.member_logits("dense")
    for fold, member in enumerate(teacher._members("dense")):
        rows = np.flatnonzero(teacher.folds == fold)
        np.testing.assert_allclose(member.logits(queries)[rows], kept[rows], atol=0.02)
