"""Encoding sparse8: what compact keeps, how exactly, and that it fits where it must."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from topiccore import ArtifactError, Taxonomy, TaxonomyLabel, TopicModel, load, reference
from topiccore.artifact import ARRAYS, Artifact, build_index, save
from topiccore.compaction import compact


def artifact_of(plain: np.ndarray, scaled: np.ndarray, shared: int = 0) -> Artifact:
    """Buckets 0, 65536, ... with these rows; the first ``shared`` scaled ones are plain ones."""
    labels = plain.shape[1]
    plain_buckets = np.arange(len(plain), dtype=np.uint32) << np.uint32(16)
    scaled_buckets = (np.arange(len(scaled)) + len(plain) - shared).astype(np.uint32) << 16
    index, plain_rows, scaled_rows = build_index(plain_buckets, scaled_buckets.astype(np.uint32))
    rows = np.zeros((len(plain) + len(scaled), labels), np.float32)
    rows[plain_rows], rows[scaled_rows] = plain, scaled
    ones = np.ones(labels, np.float32)
    taxonomy = Taxonomy([TaxonomyLabel(f"L{i}", f"Label {i}", None) for i in range(labels)])
    return Artifact(taxonomy, index, rows, 0 * ones, ones, ones, 0 * ones)


def rows_at(artifact: Artifact, place: int) -> list[np.ndarray]:
    nothing = np.zeros(len(artifact.bias), np.float32)
    return [nothing if x is None else x for x in reference.find_rows(artifact, place << 16)]


def assert_close(kept: np.ndarray, row: np.ndarray, prune: float) -> None:
    """Each weight is left out or within half a step; the step is the largest / 127, rounded up."""
    left_out = np.abs(row) < prune
    assert not kept[left_out].any()
    largest = np.abs(row[~left_out]).max(initial=0)
    assert np.abs(kept - row)[~left_out].max(initial=0) <= largest / 127 / 2 * 1.01 + 1e-30


WEIGHTS = st.floats(-20, 20, width=32) | st.sampled_from([0.0, 0.25, -0.25, 1e-30, 3e38, -3e38])


@given(data=st.data(), prune=st.sampled_from([0, 0.25, 5]), labels=st.sampled_from([1, 2, 7, 40]))
def test_kept_weights_are_close(data, prune, labels):
    plain = data.draw(hnp.arrays(np.float32, (4, labels), elements=WEIGHTS))
    scaled = data.draw(hnp.arrays(np.float32, (3, labels), elements=WEIGHTS))
    small = compact(artifact_of(plain, scaled, shared=2), prune=prune)
    for place in range(5):
        found = rows_at(small, place)
        if place < 4:
            assert_close(found[0], plain[place], prune)
        if place >= 2:
            assert_close(found[1], scaled[place - 2], prune)


@pytest.mark.parametrize("labels", [255, 256, 257, 511, 512, 513, 2000, 10_000])
def test_far_labels_of_a_sparse_row(labels):
    # A cell steps at most 255 labels ahead: beyond that it takes several.
    row = np.zeros((4, labels), np.float32)
    row[0, -1] = 1
    row[1, [0, labels // 2, -1]] = [-1, 0.5, 1]
    row[2, [0, 1, 254, -1]] = 1
    row[3, :: max(labels // 40, 1)] = 2
    artifact = compact(artifact_of(row, row[:1]), prune=0.1)
    for place in range(4):
        assert rows_at(artifact, place)[0] == pytest.approx(row[place], abs=1 / 127)
    words = np.array(["a b c", "b"])
    model = TopicModel(artifact)
    for query in words.tolist():
        assert np.array_equal(model.logits([query])[0], reference.logits(artifact, query))


def test_full_rows_are_dense_and_others_sparse():
    random = np.random.RandomState(1)
    full = random.randn(1, 101).astype(np.float32) + 9
    thin = np.where(np.arange(101) % 10 == 0, full, 0)
    artifact = compact(artifact_of(np.vstack([full, thin]), thin), prune=0.5)
    heads = [int(artifact.rows[at]) for at in artifact.index.entries[:-1]]
    assert heads == [51 << 2 | 2, 11 << 2, 11 << 2 | 1]


def test_features_without_weights_are_dropped(artifact):
    rows = artifact.rows.copy()
    rows[0] = 0.01
    small = compact(replace(artifact, rows=rows), prune=0.05)
    figures = small.training["compact"]
    sizes = artifact.index.entries & 3
    lost = int(sizes[0] != 3)
    assert figures["features_before"] - figures["features"] == lost
    assert len(small.index.keys) == figures["features"]


def test_everything_pruned_is_an_artifact_too(artifact, tmp_path):
    small = compact(artifact, prune=1e9)
    assert len(small.index.keys) == len(small.rows) == 0
    save(small, tmp_path / "empty")
    assert np.array_equal(load(tmp_path / "empty").logits(["used honda"])[0], artifact.bias)


def test_prune_is_raised_until_it_fits():
    random = np.random.RandomState(2)
    artifact = artifact_of(
        random.randn(900, 356).astype(np.float32), random.randn(800, 356).astype(np.float32)
    )
    loose = compact(artifact, prune=0.5)
    assert loose.training["compact"]["pruned_below"] == 0.5
    largest = 262_148 + 300_000
    tight = compact(artifact, prune=0.5, max_bytes=largest)
    size = sum(
        tight.array(name).nbytes
        for name in ("groups", "keys", "entries", "rows", "bias", "thresholds", "slopes")
    )
    assert 0.9 * largest < size <= largest
    assert tight.training["compact"]["pruned_below"] > 0.5
    assert len(tight.rows) < len(loose.rows)
    with pytest.raises(ArtifactError, match="1700 features do not fit 270000 bytes"):
        compact(artifact, max_bytes=270_000)


def test_other_arrays_and_figures_stay(artifact, compact_artifact):
    for name in ("bias", "thresholds", "slopes", "intercepts", "bends"):
        assert np.array_equal(compact_artifact.array(name), artifact.array(name))
    assert compact_artifact.training.items() >= artifact.training.items()
    assert (compact_artifact.id, compact_artifact.path) == ("", None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_rows_that_are_not_finite(artifact, value):
    rows = artifact.rows.copy()
    rows[3, 3] = value
    with pytest.raises(ArtifactError, match="finite float32 rows"):
        compact(replace(artifact, rows=rows))


def test_refuses_what_is_compact_already(compact_artifact):
    with pytest.raises(ArtifactError, match="finite float32 rows"):
        compact(compact_artifact)


def test_refuses_rows_in_another_order(artifact):
    entries = artifact.index.entries.copy()
    entries[[0, -1]] = entries[[-1, 0]]
    with pytest.raises(ArtifactError, match="order of their features"):
        compact(replace(artifact, index=replace(artifact.index, entries=entries)))


def test_what_counts_more_keeps_smaller_weights():
    rows = np.full((4, 6), 0.3, np.float32)
    artifact = artifact_of(rows[:0], rows)
    counts = np.array([1, 2, 3, 10], np.float16)[:, None]
    # 0.7, 0.35, 0.23 and 0.07 are left out below.
    assert len(compact(artifact, prune=0.7, importance=counts).index.keys) == 2
    assert len(compact(artifact, prune=0.7).index.keys) == 0
    assert len(compact(artifact, prune=0.7, importance=np.full((4, 1), 10)).index.keys) == 4


def test_importance_of_each_weight():
    random = np.random.RandomState(0)
    plain, scaled = random.normal(0, 1, (2, 50, 30)).astype(np.float32)
    counts = random.uniform(0, 2, (75, 30)).astype(np.float16)
    small = compact(artifact_of(plain, scaled, shared=25), prune=0.5, importance=counts)
    for feature in range(75):
        found = rows_at(small, feature)
        for row, place in ((0, feature), (1, feature - 25)):
            if 0 <= place < 50:
                wanted = (plain, scaled)[row][place]
                counted = np.abs(wanted) * counts[feature].astype(np.float32)
                assert not found[row][counted < 0.5].any()
                # A weight that rounds to no step is left out as well.
                sure = (counted >= 0.5) & (np.abs(wanted) > np.abs(wanted).max() / 200)
                assert found[row][sure].all()


@pytest.mark.parametrize("features", [500, 40_000])
def test_fitting_by_importance(features):
    rows = np.random.RandomState(0).normal(0, 1, (features, 40)).astype(np.float32)
    artifact = artifact_of(rows[:0], rows)
    counts = np.random.RandomState(1).uniform(0, 30, rows.shape).astype(np.float16)
    bound = 4 * 65_538 + 46 * features
    small = compact(artifact, prune=0.01, max_bytes=bound, importance=counts)
    size = sum(small.array(name).nbytes for name in ARRAYS)
    assert 0.8 * bound < size <= bound
    # The least threshold that fits: a slightly lower one does not.
    prune = small.training["compact"]["pruned_below"]
    lower = compact(artifact, prune=prune / 1.02, max_bytes=10**9, importance=counts)
    kept = np.count_nonzero(np.abs(rows) * counts.astype(np.float32) >= prune / 1.02)
    assert 2 * kept > bound - 4 * 65_538 - 14 * features
    assert len(lower.rows) > len(small.rows)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones(4), r"importance is \(4,\), not \(4, 6 or 1\)"),
        (np.ones((4, 2)), r"importance is \(4, 2\)"),
        (np.full((4, 6), np.inf), "not finite"),
        (np.full((4, 1), np.nan), "not finite"),
        (np.full((4, 6), -1.0), "at least 0"),
    ],
)
def test_refuses_importance_that_is_none(counts, message):
    rows = np.ones((4, 6), np.float32)
    with pytest.raises(ValueError, match=message):
        compact(artifact_of(rows[:0], rows), importance=counts)
