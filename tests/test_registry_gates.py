"""The gates of a promotion, and comparing two versions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import small_artifact
from registry_support import ask, named, save_version, shuffled, write_labels

from registry import history
from registry.difference import changed_answers, difference
from registry.gates import check_artifact
from registry.latency import Bounds, judge, score_alternately
from registry.measured_on import doubts
from registry.people import Author
from registry.push import push
from registry.quality import of_figures
from registry.store import Registry
from topiccore import TopicModel, load
from topiccore.artifact import save
from training.packages import file_sha256

pytest.importorskip("scipy")
ANN = Author("ann", "here")


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "registry"
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(root))
    # The project's own queries are of another taxonomy; they are not read when not there.
    monkeypatch.setenv("TOPICCORE_CACHE", str(tmp_path / "no-cache"))
    return root


@pytest.fixture
def versions(root, tmp_path, taxonomy):
    """Ids by name: "good" is current; "same" answers alike, "bad" has its weights shuffled.

    All were tested on the same queries, those of "labels".
    """
    registry = Registry.open_or_make(root)
    good = small_artifact(taxonomy)
    save(good, tmp_path / "unnamed")
    queries = write_labels(tmp_path / "labels.jsonl", tmp_path / "unnamed", 300)
    made = {"good": good, "same": good, "bad": shuffled(good)}
    found = {}
    for name, artifact in made.items():
        save(named(artifact, name, test=file_sha256(queries)), tmp_path / name)
        found[name] = push(registry, tmp_path / name, ANN).identity
    return found


@pytest.fixture
def labels(tmp_path, versions):
    return tmp_path / "labels.jsonl"


@pytest.fixture
def current(versions, capsys):
    assert ask(capsys, "promote", versions["good"])[0] == 0
    return versions


def states(content):
    return {gate["name"]: gate["state"] for gate in content["gates"]}


LENIENT = ["--latency-ratio", "1000", "--limits-reason", "other things run here"]
"""What these tests run on may be doing anything."""


def test_the_first_version_has_nothing_to_be_compared_with(versions, capsys):
    code, content, _ = ask(capsys, "promote", versions["bad"])
    assert (code, content["state"]) == (0, "promoted")
    assert states(content) == {"artifact": "passed", "quality": "skipped", "latency": "skipped"}


def test_what_answers_alike_passes(current, labels, root, capsys):
    code, content, _ = ask(capsys, "promote", current["same"], "--labels", labels, *LENIENT)
    assert (code, content["state"]) == (0, "promoted")
    assert set(states(content).values()) == {"passed"}
    quality = content["gates"][1]["figures"]
    assert (quality["queries"], quality["changed"]) == (300, 0)
    assert quality["now"] == quality["before"]
    assert quality["now"]["queries"]["precision"] == 1.0
    # The history has it too, and no query.
    (_, record) = history.read_history(root, "current")
    assert record["gates"] == content["gates"]
    code, content, _ = ask(capsys, "promote", current["same"], "--labels", labels)
    assert (code, content["state"], content["gates"]) == (0, "unchanged", [])


def test_what_is_worse_is_refused_and_that_is_kept(current, labels, root, capsys):
    code, content, errors = ask(capsys, "promote", current["bad"], "--labels", labels, *LENIENT)
    assert (code, content["state"], states(content)["quality"]) == (4, "refused", "failed")
    assert "precision fell by" in errors
    registry = Registry(root)
    assert registry.current("current") == current["good"]
    record = history.read_history(root, "current")[-1]
    assert (record["action"], record["to"]) == ("refused", current["bad"])
    figures = record["gates"][1]["figures"]
    low, high = figures["differences"]["queries"]["precision"]["interval"]
    assert low <= figures["differences"]["queries"]["precision"]["difference"] <= high < 0
    assert figures["worse"] > figures["better"]
    assert "dallas" not in (root / "history" / "current.jsonl").read_text()
    # A refusal is nothing to go back from.
    assert ask(capsys, "rollback")[0] == 1


def test_a_reason_overrides_and_is_kept(current, labels, root, capsys):
    arguments = ["promote", current["bad"], "--labels", labels, *LENIENT]
    code, content, _ = ask(capsys, *arguments, "--override", "the labels are wrong")
    assert (code, content["state"], states(content)["quality"]) == (0, "promoted", "failed")
    record = history.read_history(root, "current")[-1]
    assert record["override"] == "the labels are wrong"
    assert record["gates"][1]["state"] == "failed"
    with pytest.raises(SystemExit):
        ask(capsys, *arguments, "--override", " ")


def test_other_channels_are_held_to_current_too(current, labels, capsys):
    arguments = ["promote", current["bad"], "--channel", "canary", "--labels", labels]
    assert ask(capsys, *arguments, *LENIENT)[0] == 4
    # What is served may be had by any channel: there it is no worse than itself.
    code, content, _ = ask(capsys, "promote", "current", "--channel", "canary")
    assert (code, states(content)["quality"]) == (0, "skipped")


@pytest.mark.parametrize("channel", ["current", "canary", "staging"])
@pytest.mark.parametrize("against", ["bad", "worse"])
def test_every_channel_is_held_to_what_is_served(
    current, labels, root, tmp_path, taxonomy, capsys, against, channel
):
    # As bad as the one that is to be promoted: beside it nothing has fallen.
    save(named(shuffled(small_artifact(taxonomy)), "worse"), tmp_path / "worse")
    worse = push(Registry(root), tmp_path / "worse", ANN).identity
    other = {"bad": current["bad"], "worse": worse}[against]
    arguments = ["promote", current["bad"], "--labels", labels, *LENIENT, "--against", other]
    arguments += ["--channel", channel]
    before = Registry(root).channels()
    code, _, errors = ask(capsys, *arguments)
    assert code == 1
    assert f"compared with the version that 'current' has, {current['good'][:12]}" in errors
    assert Registry(root).channels() == before
    code, _, _ = ask(capsys, *arguments, "--override", "the labels are wrong")
    assert code == 0
    record = history.read_history(root, channel)[-1]
    assert (record["against"], record["override"]) == (other, "the labels are wrong")
    assert record["gates"][1]["state"] == ("failed" if against == "bad" else "passed")


def test_naming_what_is_served_changes_nothing(current, labels, capsys):
    arguments = ["--labels", labels, *LENIENT, "--against", "current"]
    assert ask(capsys, "promote", current["bad"], *arguments)[0] == 4
    assert ask(capsys, "promote", current["same"], *arguments)[0] == 0


def test_the_first_version_compared_with_itself(versions, root, capsys):
    code, content, _ = ask(capsys, "promote", versions["bad"], "--against", versions["bad"])
    assert (code, states(content)["quality"]) == (4, "failed")
    assert Registry(root).current("current") is None


def test_the_bound_on_latency(current, labels, capsys):
    arguments = ["promote", current["same"], "--labels", labels, "--latency-ratio"]
    code, content, errors = ask(capsys, *arguments, "0.000001")
    assert (code, states(content)["latency"]) == (4, "failed")
    assert "at most 1e-06" in errors
    assert ask(capsys, *arguments, "1000", "--limits-reason", "other things run here")[0] == 0


@pytest.mark.parametrize("looser", [["--latency-ratio", "1000"], ["--margin", "1"]])
def test_looser_limits_need_a_reason_that_is_kept(current, labels, root, capsys, looser):
    arguments = ["promote", current["same"], "--labels", labels, *looser]
    # Why it is promoted does not tell why it may be worse; pipelines always give that.
    code, _, errors = ask(capsys, *arguments, "--reason", "pipeline 7")
    assert code == 1
    assert f"{' '.join(looser)} (default: " in errors
    assert "--limits-reason" in errors
    assert Registry(root).current("current") == current["good"]
    with pytest.raises(SystemExit):
        ask(capsys, *arguments, "--limits-reason", " ")
    reasons = ["--limits-reason", "a busy machine", "--override", "whatever the latency"]
    assert ask(capsys, *arguments, *reasons)[0] == 0
    limits = history.read_history(root, "current")[-1]["limits"]
    assert limits["reason"] == "a busy machine"
    assert limits[looser[0][2:].replace("-", "_")] == float(looser[1])


def test_what_a_channel_has_is_held_to_what_is_served_since(current, labels, root, capsys):
    options = ["--labels", labels, *LENIENT]
    canary = ["promote", current["same"], "--channel", "canary", *options]
    assert ask(capsys, *canary)[1]["state"] == "promoted"
    assert ask(capsys, *canary)[1]["state"] == "unchanged"
    worse = ["promote", current["bad"], *options, "--override", "a try"]
    assert ask(capsys, *worse)[0] == 0
    code, content, _ = ask(capsys, *canary)
    assert (code, content["state"], states(content)["quality"]) == (0, "promoted", "passed")
    assert history.read_history(root, "canary")[-1]["against"] == current["bad"]
    assert ask(capsys, *canary)[1]["state"] == "unchanged"
    assert ask(capsys, "rollback")[0] == 0
    code, content, _ = ask(capsys, *canary)
    assert (code, content["state"]) == (0, "promoted")
    canary[1] = current["bad"]
    assert ask(capsys, *canary, "--override", "a try")[1]["state"] == "promoted"
    assert ask(capsys, "promote", current["same"], *options)[0] == 0
    # It would not pass now.
    code, content, _ = ask(capsys, *canary)
    assert (code, content["state"], states(content)["quality"]) == (4, "refused", "failed")


def test_other_queries_need_a_reason_that_is_kept(current, labels, root, tmp_path, capsys):
    row = labels.read_text().splitlines(keepends=True)[0]
    one = tmp_path / "one.jsonl"
    one.write_text(row)
    arguments = ["promote", current["same"], "--latency-ratio", "1", "--labels", one]
    code, content, errors = ask(capsys, *arguments)
    assert (code, states(content)["quality"]) == (4, "failed")
    for part in (
        "one.jsonl: not the test queries",
        "fewer than 300 queries (1)",
        "--limits-reason",
    ):
        assert part in errors
    ask(capsys, *arguments, *LENIENT)
    record = history.read_history(root, "current")[-1]
    assert (record["action"], record["limits"]["reason"]) == ("promote", LENIENT[-1])
    quality = record["gates"][1]
    assert quality["figures"]["files"] == [{"name": "one.jsonl", "sha256": file_sha256(one)}]
    assert "not the test queries" in quality["text"]


def test_the_test_queries_of_both_need_none(current, labels, root, capsys):
    arguments = ["promote", current["same"], "--latency-ratio", "0.000001", "--labels", labels]
    code, content, _ = ask(capsys, *arguments)
    assert (code, states(content)["quality"]) == (4, "passed")
    figures = history.read_history(root, "current")[-1]["gates"][1]["figures"]
    assert figures["files"] == [{"name": "labels.jsonl", "sha256": file_sha256(labels)}]


@pytest.mark.parametrize(
    ("own", "given", "queries", "doubt"),
    [
        (["a"], ["a"], 300, ""),
        (["a"], ["a"], 299, "fewer than 300 queries (299)"),
        (["a"], ["b"], 300, "not the test queries that both manifests name"),
        (["a", "b"], ["b", "a"], 300, ""),
        (["a", "b"], ["a"], 300, "not the test queries that both manifests name"),
        ([], ["a"], 300, "not the test queries that both manifests name"),
    ],
)
def test_which_queries_are_the_test_queries(taxonomy, own, given, queries, doubt):
    names = ("test", "test 2")
    data = {"sha256": dict(zip(names, own, strict=False)) | {"testing": "x", "train": "y"}}
    model = TopicModel(replace(small_artifact(taxonomy), data=data))
    files = [{"name": f"{one}.csv", "sha256": one} for one in given]
    assert doubts(files, queries, [model, model]) == doubt


def test_figures_of_one_of_two_files_do_not_count(taxonomy):
    quality = {"precision": 0.9, "coverage": 0.7}
    one = named(small_artifact(taxonomy), "x", quality)
    models = [
        TopicModel(replace(one, data={"sha256": {"test": "a"} | more}))
        for more in ({}, {"test 2": "b"})
    ]
    assert of_figures(*models, 0.005, "-")[0] == "failed"


def test_tighter_limits_need_none(current, labels, capsys):
    arguments = ["promote", current["same"], "--labels", labels, "--margin", "0"]
    code, content, _ = ask(capsys, *arguments, "--latency-ratio", "0.000001")
    assert (code, states(content)["quality"], states(content)["latency"]) == (4, "passed", "failed")


def test_a_corrupt_version_is_never_promoted(current, root, capsys):
    path = root / "versions" / current["same"] / "rows.npy"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    code, content, errors = ask(capsys, "promote", current["same"], "--override", "I must")
    assert (code, states(content)["artifact"]) == (4, "failed")
    assert "rows.npy: its SHA-256" in errors
    assert Registry(root).current("current") == current["good"]


def test_a_version_that_emits_nothing(tmp_path, taxonomy):
    silent = replace(
        small_artifact(taxonomy), thresholds=np.full(len(taxonomy), np.inf, np.float32)
    )
    identity = save(silent, tmp_path / "silent")
    gate, model = check_artifact(tmp_path / "silent", identity)
    assert (gate.failed, model) == (True, None)
    assert "can emit no label" in gate.text


def test_a_version_under_another_id(tmp_path, taxonomy):
    save_version(tmp_path, taxonomy, "one")
    assert "holds" in check_artifact(tmp_path / "one", "0" * 64)[0].text


def damage(root, identity):
    """Changes a byte, which only checksums find."""
    path = root / "versions" / identity / "bias.npy"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_current_version_that_is_damaged_lets_nothing_pass(current, labels, root, capsys):
    damage(root, current["good"])
    for version in ("same", "bad"):
        code, content, errors = ask(capsys, "promote", current[version], "--labels", labels)
        assert (code, content["state"], states(content)["quality"]) == (4, "refused", "failed")
        assert "no version to compare with loads" in errors
        assert "bias.npy: its SHA-256" in errors
    assert Registry(root).current("current") == current["good"]
    arguments = ["promote", current["same"], "--override", "the disk has failed"]
    assert ask(capsys, *arguments)[0] == 0
    assert history.read_history(root, "current")[-1]["override"] == "the disk has failed"


def test_a_damaged_current_version_is_replaced_by_the_one_before_it_as_a_measure(
    current, labels, root, tmp_path, taxonomy, capsys
):
    save(named(small_artifact(taxonomy), "third"), tmp_path / "third")
    third = push(Registry(root), tmp_path / "third", ANN).identity
    options = ["--labels", labels, *LENIENT]
    assert ask(capsys, "promote", current["same"], *options)[0] == 0
    damage(root, current["same"])
    code, content, errors = ask(capsys, "promote", current["bad"], *options)
    assert (code, states(content)["quality"]) == (4, "failed")
    assert "precision fell by" in errors
    # That one itself is what a rollback is for.
    code, content, errors = ask(capsys, "promote", current["good"], *options)
    assert (code, states(content)["quality"]) == (4, "failed")
    assert "compared with itself" in errors
    code, content, _ = ask(capsys, "promote", third, *options)
    assert (code, content["state"]) == (0, "promoted")
    record = history.read_history(root, "current")[-1]
    assert (record["from"], record["against"]) == (current["same"], current["good"])
    assert f"{current['same'][:12]} does not load" in record["gates"][1]["text"]


def test_what_was_gone_back_from_is_no_measure(current, labels, root, tmp_path, taxonomy, capsys):
    save(named(shuffled(small_artifact(taxonomy)), "worse"), tmp_path / "worse")
    worse = push(Registry(root), tmp_path / "worse", ANN).identity
    options = ["--labels", labels, *LENIENT]
    assert ask(capsys, "promote", worse, *options, "--override", "a try")[0] == 0
    assert ask(capsys, "rollback")[0] == 0
    damage(root, current["good"])
    code, _, errors = ask(capsys, "promote", current["bad"], *options)
    assert code == 4
    assert "no version to compare with loads" in errors


def test_labels_that_cannot_be_read(current, tmp_path, capsys):
    from topiccore.cli import main

    bad = tmp_path / "bad.csv"
    bad.write_text("text,labels\nused car,NOPE\n")
    assert main(["registry", "promote", current["same"], "--labels", str(bad)]) == 1
    assert "bad.csv:2: label 'NOPE'" in capsys.readouterr().err


# --- without texts ------------------------------------------------------------------------------


def model_with(taxonomy, precision, coverage, test="the same"):
    quality = {"precision": precision, "coverage": coverage}
    artifact = named(small_artifact(taxonomy), "x", quality)
    return TopicModel(replace(artifact, data={"sha256": {"test": test}}))


@pytest.mark.parametrize(
    ("now", "state"),
    [
        ((0.90, 0.70), "passed"),
        ((0.898, 0.70), "passed"),
        ((0.89, 0.75), "failed"),
        ((0.95, 0.69), "failed"),
        ((float("nan"), 0.7), "failed"),
    ],
)
def test_figures_of_manifests(taxonomy, now, state):
    found, text, figures = of_figures(
        model_with(taxonomy, *now), model_with(taxonomy, 0.9, 0.7), 0.005, "the texts are away"
    )
    assert found == state
    assert "the texts are away" in text
    assert figures["measured_on"] == "figures of the manifests"


def test_figures_of_other_queries_do_not_count(taxonomy):
    found, text, _ = of_figures(
        model_with(taxonomy, 0.99, 0.99, test="others"), model_with(taxonomy, 0.9, 0.7), 0.005, "-"
    )
    assert found == "failed"
    assert "not of the same test queries" in text


def test_without_queries_nothing_passes_by_itself(versions, root, tmp_path, taxonomy, capsys):
    ids = []
    for name, wrong in (("one", False), ("two", True)):
        made = shuffled(small_artifact(taxonomy)) if wrong else small_artifact(taxonomy)
        # Weights that changed after they were measured: figures do not tell.
        save(named(made, name, {"precision": 0.9, "coverage": 0.7}), tmp_path / name)
        ids.append(push(Registry(root), tmp_path / name, ANN).identity)
    assert ask(capsys, "promote", ids[0])[0] == 0
    code, content, errors = ask(capsys, "promote", ids[1], *LENIENT)
    assert (code, states(content)["quality"]) == (4, "failed")
    for part in ("not measured", "no-cache", "--labels", "topiccore train collections", "override"):
        assert part in errors
    assert Registry(root).current("current") == ids[0]
    with pytest.raises(SystemExit):
        ask(capsys, "promote", ids[1], *LENIENT, "--figures-only", "")
    arguments = ["promote", ids[1], *LENIENT, "--figures-only", "no network today"]
    code, content, _ = ask(capsys, *arguments)
    assert (code, states(content)["quality"]) == (0, "passed")
    record = history.read_history(root, "current")[-1]
    assert (record["figures_only"], record["override"]) == ("no network today", None)
    assert record["gates"][1]["figures"]["measured_on"] == "figures of the manifests"


def test_where_there_are_queries_they_decide(current, labels, capsys):
    arguments = ["promote", current["bad"], "--labels", labels, "--figures-only", "in a hurry"]
    code, content, _ = ask(capsys, *arguments, *LENIENT)
    assert (code, content["gates"][1]["figures"]["measured_on"]) == (4, "labelled queries")


def test_without_figures_nothing_passes(current, capsys):
    code, content, errors = ask(
        capsys, "promote", current["same"], *LENIENT, "--figures-only", "no network"
    )
    assert (code, states(content)["quality"]) == (4, "failed")
    assert "carries no figures" in errors
    assert "no-cache" in errors
    assert "--labels" in errors


def test_another_taxonomy_is_not_comparable(taxonomy, large_model):
    found, text, _ = of_figures(large_model, model_with(taxonomy, 0.9, 0.7), 0.005, "-")
    assert (found, "different taxonomies" in text) == ("failed", True)


# --- latency ------------------------------------------------------------------------------------


def test_the_verdict_is_that_of_pairs():
    # The machine slows down threefold halfway; the model is a fifth slower all along.
    theirs = np.array([1.0] * 10 + [3.0] * 10)
    found = judge(1.2 * theirs, theirs, Bounds(1.25))
    assert found.ratio == pytest.approx(1.2)
    assert found.low == pytest.approx(1.2)
    assert not found.failed
    assert judge(1.3 * theirs, theirs, Bounds(1.25)).failed
    # One round in which something else ran decides nothing.
    ours = theirs.copy()
    ours[3] = 50.0
    assert not judge(ours, theirs, Bounds(1.25)).failed


def test_both_are_timed_in_every_round(model):
    ours, theirs = score_alternately(model, model, ["used honda", "red dress"], 3)
    assert ours.shape == theirs.shape == (3,)
    assert (ours > 0).all()
    assert (theirs > 0).all()


# --- diff ---------------------------------------------------------------------------------------


def test_answers_that_change(tmp_path, taxonomy):
    good = small_artifact(taxonomy)
    # Thresholds so high that "Travel" and its subtopics are never emitted.
    thresholds = good.thresholds.copy()
    for code in ("T", "T1", "T2"):
        thresholds[taxonomy.index_of(code)] = np.inf
    old, new = TopicModel(good), TopicModel(replace(good, thresholds=thresholds))
    texts = ["used honda", "cheap hotel", "flight", "beach", "red dress", "zzz"]
    found = changed_answers(old, new, texts)
    told = [bool({x.code for x in old.score(text)} & {"T", "T1", "T2"}) for text in texts]
    assert found["changed"] == sum(told) > 0
    assert [x["text"] for x in found["answers"]] == [
        text for text, changes in zip(texts, told, strict=True) if changes
    ]
    assert found["topics"] == {"T": {"gained": 0, "lost": sum(told), "moved": 0}}
    back = changed_answers(new, old, texts)
    assert back["topics"] == {"T": {"gained": sum(told), "lost": 0, "moved": 0}}


def test_what_manifests_say(taxonomy):
    old = TopicModel(named(small_artifact(taxonomy), "ab", {"precision": 0.9, "coverage": 0.7}))
    new = TopicModel(named(small_artifact(taxonomy), "abc", {"precision": 0.8, "coverage": 0.8}))
    found = difference(old, new)
    assert found["figures"]["precision"] == [0.9, 0.8]
    assert found["settings"] == {"epochs": [2, 3]}
    assert found["data"] == {"name": ["ab", "abc"]}
    assert (found["labels_added"], found["labels_removed"]) == ([], [])


def test_diff_commands(current, labels, tmp_path, capsys):
    code, found, _ = ask(capsys, "diff", "current", current["bad"], "--labels", labels)
    assert code == 0
    assert found["quality"]["worse"] > found["quality"]["better"]
    assert found["answers"]["queries"] == 300
    assert len(found["answers"]["answers"]) == found["answers"]["changed"] > 0
    queries = tmp_path / "queries.txt"
    queries.write_text("used honda\nred dress\n\nused honda\n")
    code, found, _ = ask(capsys, "diff", current["good"], current["same"], "--queries", queries)
    assert (code, found["answers"]["queries"], found["answers"]["changed"]) == (0, 2, 0)
    code, found, errors = ask(capsys, "diff", "current", current["same"])
    assert (code, "answers" in found) == (0, False)
    assert "figures alone" in errors


def test_what_is_printed_for_people(current, labels, capsys):
    from topiccore.cli import main

    capsys.readouterr()
    bad = current["bad"]
    arguments = ["--labels", str(labels), *LENIENT]
    assert main(["registry", "promote", bad, *arguments]) == 4
    assert "quality   failed" in capsys.readouterr().out
    for command, part in [
        (["list"], "current"),
        (["show", "current"], "refused"),
        (["show", bad], "10 labels"),
        (["diff", "current", bad, "--labels", str(labels)], "answers change"),
        (["gc", "--dry-run"], "within the last hour"),
    ]:
        assert main(["registry", *command]) == 0
        assert part in capsys.readouterr().out


def test_models_of_versions_load(current, root):
    assert load(root / "channels" / "current").id == current["good"]
