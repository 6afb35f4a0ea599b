"""TopicModel: arguments, explanations, pickling, threads; EmittedLabel and Answer as values."""

import copy
import pickle
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import topiccore
from topiccore import (
    MAX_QUERY_BYTES,
    Answer,
    ArtifactError,
    EmittedLabel,
    FeatureShare,
    QueryTooLongError,
    QueryTypeError,
    TopicModel,
    reference,
)
from topiccore.artifact import save

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WORDS = ["used", "honda", "cheap", "hotel", "red", "dress", "running", "shoes", "dallas", "novel"]
QUERIES = st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=20).map(" ".join)


# --- a loaded model -----------------------------------------------------------------------------


def test_a_loaded_model_tells_what_it_is(model, artifact_path, taxonomy):
    assert model.id == topiccore.artifact.load(artifact_path).id
    assert model.artifact.path == artifact_path.absolute()
    assert list(model.taxonomy) == list(taxonomy)
    assert model.training == {"precision": 0.9, "coverage": 0.7}
    assert (
        repr(model)
        == f"<TopicModel {model.id[:12]}: 10 labels, {len(model.artifact.index.keys)} features>"
    )


def test_training_figures_are_a_copy(model):
    model.training["precision"] = 0
    assert model.training["precision"] == 0.9


def test_load_takes_text_or_path(model, artifact_path):
    assert topiccore.load(str(artifact_path)).id == topiccore.load(artifact_path).id == model.id


def test_a_model_of_an_artifact_in_memory_scores_the_same(model, artifact):
    for query in ("used honda", "red dress dallas"):
        assert TopicModel(artifact).score(query, min_score=0) == model.score(query, min_score=0)


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.001, 1.001, -1, 2, float("nan"), float("inf"), -float("inf")])
def test_min_score_out_of_range(model, value):
    with pytest.raises(ValueError, match=r"min_score is .*, not in \[0, 1\]"):
        model.score("used", min_score=value)
    with pytest.raises(ValueError, match=r"min_score is .*, not in \[0, 1\]"):
        model.score_batch(["used"], min_score=value)


@pytest.mark.parametrize("value", [-1, -(2**70)])
def test_max_labels_below_0(model, value):
    with pytest.raises(ValueError, match=r"max_labels is -\d+, below 0"):
        model.score("used", max_labels=value)
    with pytest.raises(ValueError, match=r"max_labels is -\d+, below 0"):
        model.score_batch([], max_labels=value)


def test_arguments_at_the_ends_of_their_ranges(model):
    assert len(model.score("used", min_score=0)) == len(model.taxonomy)
    assert model.score("used", min_score=-0.0) == model.score("used", min_score=0)
    assert model.score("used", min_score=0, max_labels=0) == []
    assert len(model.score("used", min_score=0, max_labels=2**31)) == len(model.taxonomy)


def test_max_labels_without_a_top(model):
    assert len(model.score("used", min_score=0, max_labels=2**70)) == len(model.taxonomy)


@pytest.mark.parametrize("argument", [{"min_score": "0.5"}, {"max_labels": "3"}])
def test_arguments_of_other_types(model, argument):
    with pytest.raises(TypeError):
        model.score("used", **argument)


def test_options_are_keywords(model):
    with pytest.raises(TypeError):
        model.score("used", 0.5)


@pytest.mark.parametrize("query", [None, 5, ["used"], bytearray(b"used"), memoryview(b"used")])
def test_query_of_another_type(model, query):
    for call in (model.score, model.explain):
        with pytest.raises(QueryTypeError, match=f"not {type(query).__name__}"):
            call(query)


@pytest.mark.parametrize("unit", ["x", b"x", "é"])
def test_query_too_long(model, unit):
    longest = unit * (MAX_QUERY_BYTES // len(unit.encode() if isinstance(unit, str) else unit))
    model.score(longest)
    for call in (model.score, model.explain):
        with pytest.raises(QueryTooLongError, match=f"at most {MAX_QUERY_BYTES}"):
            call(longest + unit)


@pytest.mark.parametrize("method", ["score_batch", "logits"])
@pytest.mark.parametrize("query", ["used honda", b"used honda", ""])
def test_one_query_is_no_batch(model, method, query):
    with pytest.raises(TypeError, match="one query"):
        getattr(model, method)(query)


@pytest.mark.parametrize("method", ["score_batch", "logits"])
def test_what_cannot_be_iterated_is_no_batch(model, method):
    with pytest.raises(TypeError):
        getattr(model, method)(None)


def test_errors_of_a_batch_name_the_position(model):
    with pytest.raises(QueryTypeError, match=r"^query 3: a query is str or UTF-8 bytes, not int"):
        model.score_batch(["a", b"b", "\udfff", 7])
    with pytest.raises(QueryTooLongError, match=r"^query 1: the query has 1048577 bytes"):
        model.score_batch(["a", b"x" * (MAX_QUERY_BYTES + 1)])


# --- explanations -------------------------------------------------------------------------------


@given(query=QUERIES)
def test_shares_add_up_to_the_logit(any_model, query):
    model = any_model
    codes = [label.code for label in model.taxonomy]
    explanations = model.explain(query, codes)
    logits = model.logits([query])[0]
    assert [item.code for item in explanations] == codes
    for place, item in enumerate(explanations):
        assert item.logit == logits[place]
        assert item.bias == model.artifact.bias[place]
        assert item.threshold == model.artifact.thresholds[place]
        assert item.name == model.taxonomy[place].name
        assert item.bias + sum(s.share for s in item.shares) == pytest.approx(item.logit, abs=1e-5)
        sizes = [abs(share.share) for share in item.shares]
        assert sizes == sorted(sizes, reverse=True)


@given(query=QUERIES)
def test_emitted_labels_are_explained_by_default(model, query):
    explained = [(item.code, item.name, item.score) for item in model.explain(query)]
    answer = model.score(query)
    assert explained == [(label.code, label.name, label.score) for label in answer]


def test_shares_name_the_features(model):
    (item,) = model.explain("Used HONDA, novel 🚗 words", ["V1"])
    assert sorted(share.text for share in item.shares) == sorted(
        ["used", "honda", "🚗", "used honda"]
    )
    assert item.unknown == ("novel", "words")


def test_shares_of_plain_scaled_and_both_rows(model):
    query = "honda pizza red novel"  # four tokens: scaled rows count half
    (item,) = model.explain(query, ["T1"])
    place = model.taxonomy.index_of("T1")
    expected = {}
    for text, bucket in reference.features(query):
        plain, scaled = reference.find_rows(model.artifact, bucket)
        if plain is not None or scaled is not None:
            expected[text] = 0 if plain is None else plain[place]
            expected[text] += 0 if scaled is None else scaled[place] / 2
    assert set(expected) == {"honda", "pizza", "red"}
    assert {share.text: share.share for share in item.shares} == expected


def test_repeated_tokens_have_a_share_each(model):
    (item,) = model.explain("honda honda novel novel", ["V"])
    assert item.shares == (item.shares[0], item.shares[0])
    assert item.shares[0].text == "honda"
    assert item.unknown == ("novel", "novel")


def test_label_that_is_not_emitted_has_its_own_score(model):
    scores = dict(reference.score(model.artifact, "red novel", 0))
    emitted = {label.code for label in model.score("red novel")}
    others = [x.code for x in model.taxonomy if x.topic and x.code not in emitted]
    assert others
    for item in model.explain("red novel", others):
        assert item.score == pytest.approx(scores[item.code], abs=1e-12)
        assert item.logit < item.threshold


def test_explanation_of_the_empty_query(model):
    (item,) = model.explain("", ["S1"])
    assert (item.shares, item.unknown) == ((), ())
    assert item.logit == item.bias


def test_explanation_counts_the_first_tokens_only(model):
    (item,) = model.explain("novel " * 256 + "honda unseen", ["V"])
    assert item.shares == ()
    assert item.unknown == ("novel",) * 256


def test_explanation_of_unknown_codes(model):
    for codes in (["X9"], ["V", "v"], [""]):
        with pytest.raises(KeyError, match=repr(codes[-1])):
            model.explain("used", codes)


def test_no_codes_no_explanations(model):
    assert model.explain("used", []) == []


@pytest.mark.parametrize("query", ["running shoes " * 128])
def test_explanation_of_large_logits(model, query):
    for item in model.explain(query, [label.code for label in model.taxonomy]):
        assert 0 <= item.score <= 1


# --- pickling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_model_pickles_as_path_and_id(model, protocol):
    data = pickle.dumps(model, protocol)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.id == model.id
    assert again.artifact.path == model.artifact.path
    assert again.score("used honda", min_score=0) == model.score("used honda", min_score=0)


def test_model_is_copied_by_loading_it_again(model):
    assert copy.copy(model).id == copy.deepcopy(model).id == model.id


def test_model_pickled_with_a_relative_path(artifact_path, tmp_path, monkeypatch):
    monkeypatch.chdir(artifact_path.parent)
    data = pickle.dumps(topiccore.load(artifact_path.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data).artifact.path == artifact_path


def test_model_is_not_unpickled_from_another_artifact(make_artifact, artifact_path, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(artifact_path, path)
    loaded = topiccore.load(path)
    data = pickle.dumps(loaded)
    before = loaded.score("used honda", min_score=0)
    save(make_artifact(loaded.taxonomy, seed=8), path, overwrite=True)
    with pytest.raises(ArtifactError, match=f"{path}: holds .* now, not {loaded.id[:12]}"):
        pickle.loads(data)
    assert loaded.score("used honda", min_score=0) == before  # what is mapped stays
    shutil.rmtree(path)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        pickle.loads(data)


def test_model_in_memory_does_not_pickle(artifact):
    with pytest.raises(TypeError, match="loaded from a path"):
        pickle.dumps(TopicModel(artifact))


# --- EmittedLabel and Answer --------------------------------------------------------------------


def test_emitted_label_is_a_value():
    label = EmittedLabel("V1", "Cars", 0.875)
    assert (label.code, label.name, label.score) == ("V1", "Cars", 0.875)
    assert repr(label) == "EmittedLabel(code='V1', name='Cars', score=0.8750)"
    same = EmittedLabel(code="V1", name="Cars", score=0.875)
    assert label == same
    assert hash(label) == hash(same)
    assert len({label, same}) == 1


@pytest.mark.parametrize(
    "other",
    [
        EmittedLabel("V2", "Cars", 0.875),
        EmittedLabel("V1", "cars", 0.875),
        EmittedLabel("V1", "Cars", 0.5),
        ("V1", "Cars", 0.875),
        None,
    ],
)
def test_emitted_labels_that_differ(other):
    assert EmittedLabel("V1", "Cars", 0.875) != other


@pytest.mark.parametrize("attribute", ["code", "name", "score", "other"])
def test_emitted_label_cannot_be_changed(attribute):
    label = EmittedLabel("V1", "Cars", 0.875)
    with pytest.raises(AttributeError):
        setattr(label, attribute, "x")


@pytest.mark.parametrize(
    "arguments", [(), ("V1",), (None, "Cars", 1), ("V1", None, 1), (b"V1", "Cars", 1)]
)
def test_emitted_label_of_wrong_arguments(arguments):
    with pytest.raises(TypeError):
        EmittedLabel(*arguments)


def answer_of_two() -> Answer:
    answer = Answer([EmittedLabel("V", "Vehicles", 0.9), EmittedLabel("V1", "Cars", 0.5)])
    answer.truncated = True
    return answer


def test_answer_is_a_list():
    answer = answer_of_two()
    assert isinstance(answer, list)
    assert answer == list(answer)
    assert answer != list(answer)[:1]
    assert repr(answer) == repr(list(answer))
    assert Answer() == []
    assert Answer().truncated is False
    with pytest.raises(TypeError, match="unhashable"):
        hash(answer)


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        *(
            pytest.param(lambda x, p=p: pickle.loads(pickle.dumps(x, p)), id=f"pickle {p}")
            for p in PROTOCOLS
        ),
    ],
)
def test_copies_and_pickles(again):
    answer = answer_of_two()
    for truncated in (True, False):
        answer.truncated, answer.tokens, answer.unknown = truncated, 5, 2
        other = again(answer)
        assert type(other) is Answer
        assert other is not answer
        assert other == answer
        assert (other.truncated, other.tokens, other.unknown) == (truncated, 5, 2)
    label = again(answer[0])
    assert type(label) is EmittedLabel
    assert label == answer[0]


# --- explanations as values ----------------------------------------------------------------------


def test_explanations_are_values():
    share = FeatureShare("used", 0.5)
    assert share == replace(share)
    with pytest.raises(AttributeError):
        share.share = 1.0
