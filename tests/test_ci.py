"""The pipeline keeps to GitLab's schema, and its scripts do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from deploy_support import WORK, tool
from registry_support import save_version, write_labels
from service_support import running_server, save_tiny_artifact

from topiccore.cli import main as topiccore

ROOT = Path(__file__).parents[1]
CI = ROOT / "ci"
PIPELINE = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
WORDS = ("default", "variables", "stages", "workflow")
JOBS = {
    name: job for name, job in PIPELINE.items() if name not in WORDS and not name.startswith(".")
}
IMAGE = "registry.example:5000/team/topiccore:abc123"
KUBECTL = """#!{python}
import json, os, pathlib, sys
found = {{"arguments": sys.argv[1:]}}
if "-k" in sys.argv:
    folder = pathlib.Path(sys.argv[sys.argv.index("-k") + 1])
    found["kustomization"] = (folder / "kustomization.yaml").read_text()
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(found) + "\\n")
if "get" in sys.argv:
    asked = " ".join(sys.argv)
    answers = json.loads(os.environ.get("FOUND", "{{}}"))
    print(next((text for part, text in answers.items() if part in asked), ""), end="")
sys.exit(3 if os.environ.get("FAIL_AT", "none") in sys.argv else 0)
"""


def script(name):
    """A script of ``ci/``, as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", CI / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """Runs a shell script with a ``kubectl`` that only keeps what it was told.

    ``found``: what it answers when it is asked for something that has one of these texts in it.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("kubectl", "topiccore", "buildah"):
        (programs / name).write_text(KUBECTL.format(python=sys.executable))
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"

    def go(name, *arguments, found=None, **environment):
        calls.unlink(missing_ok=True)
        environment |= {"FOUND": json.dumps(found or {})}
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "CALLS": str(calls)} | environment
        done = subprocess.run(
            [CI / name, *arguments], env=environment, capture_output=True, text=True
        )
        lines = calls.read_text().splitlines() if calls.exists() else []
        return done, [json.loads(line) for line in lines]

    return go


def test_the_pipeline_keeps_to_the_schema():
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema"]
    command += ["vendor.gitlab-ci", "--data-transform", "gitlab-ci", ROOT / ".gitlab-ci.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_jobs_run_what_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for name, job in JOBS.items():
        for line in job["script"]:
            for target in re.findall(r"^make ([a-z-]+)", line):
                assert re.search(rf"^{target}:", makefile, re.M), name
            for file in re.findall(r"\bci/[a-z]+\.\w+", line):
                assert (ROOT / file).exists(), name
                assert file.endswith(".py") or os.access(ROOT / file, os.X_OK), name


def test_the_story_stops_what_runs_before_its_folder_goes():
    recipe = (ROOT / "Makefile").read_text().partition("\nstory:")[2].partition("\n\n")[0]
    assert 0 < recipe.index("tools.local down --site runs/story/site") < recipe.index("rm -rf")


def test_jobs_follow_each_other():
    for name, job in JOBS.items():
        for other in job["needs"]:
            assert PIPELINE["stages"].index(JOBS[other]["stage"]) <= PIPELINE["stages"].index(
                job["stage"]
            ), name


def before(name):
    """A job and all that it waits for."""
    return {name}.union(*(before(other) for other in JOBS[name]["needs"]))


def shell(lines, folder, **environment):
    """Runs lines of a job, with programs that print what they were told."""
    for program in ("make", "python", "topiccore", "sleep"):
        (folder / program).write_text(f'#!/bin/sh\necho {program} "$@"\n')
        (folder / program).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", "\n".join(lines)],
        env={"PATH": path} | environment,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_no_image_is_built_while_a_check_fails():
    checks = {name for name, job in JOBS.items() if job["stage"] == "check"}
    assert checks == {
        *("lint", "test", "manifests", "build", "sanitizers", "latency gate", "spark")
    }
    assert checks | {"train", "container", "quality gate"} == set(JOBS["build image"]["needs"])


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ({"CI_MERGE_REQUEST_DIFF_BASE_SHA": "a1", "CI_COMMIT_BEFORE_SHA": "0" * 40}, "a1"),
        ({"CI_COMMIT_BEFORE_SHA": "0b00"}, "0b00"),
        ({"CI_COMMIT_BEFORE_SHA": "0" * 40}, "HEAD~1"),
        ({}, "HEAD~1"),
    ],
)
def test_the_latency_gate_always_has_a_base(tmp_path, given, base):
    assert shell(JOBS["latency gate"]["script"], tmp_path, **given) == [f"make gate BASE={base}"]


def test_nothing_reaches_production_around_the_gates():
    gates = {"test", "quality gate", "scan", "push", "deploy to staging", "smoke test"}
    assert gates <= before("canary")
    assert before("promote") >= gates | {"canary", "canary verdict", "promote in registry"}
    assert before("canary") >= {"container"}
    assert JOBS["promote in registry"]["rules"][0]["when"] == "manual"
    assert JOBS["rollback"]["rules"][0]["when"] == "manual"
    # Not allowed to fail: what comes after a manual job waits for it.
    assert "allow_failure" not in JOBS["promote in registry"]["rules"][0]


def test_all_jobs_mean_the_same_image_file():
    (file,) = JOBS["build image"]["artifacts"]["paths"]
    archives = {
        name: re.findall(r"([a-z-]+):" + re.escape(file), " ".join(JOBS[name]["script"]))
        for name in ("build image", "push")
    }
    # Of archives in one file Trivy reads those of docker alone.
    assert archives == {"build image": ["docker-archive"], "push": ["docker-archive"]}
    assert f"--input {file} " in JOBS["scan"]["script"][0]
    for name in ("scan", "push"):
        assert "build image" in JOBS[name]["needs"]


def test_gates_have_the_texts_of_the_queries():
    cache = PIPELINE["variables"]["TOPICCORE_CACHE"]
    assert cache.removeprefix("$CI_PROJECT_DIR/") in PIPELINE["default"]["cache"]["paths"]
    found = 0
    for name, job in JOBS.items():
        lines = job["script"]
        asks = [
            i for i, line in enumerate(lines) if re.search(r"registry promote|promote\.py", line)
        ]
        if asks:
            assert "topiccore train collections" in lines[: asks[0]], name
            assert any(re.search(r"pip install .*train", line) for line in lines[: asks[0]]), name
            assert job["interruptible"] is False, name
            found += 1
    assert found == 2


def test_later_jobs_get_what_they_need_of_training(tmp_path, taxonomy, monkeypatch):
    """``ci/push.py`` takes a run of which only the artifacts of the job are left."""
    script_of = {name: "\n".join(job["script"]) for name, job in JOBS.items()}
    (out,) = re.findall(r"--out (\S+)", script_of["train"])
    paths = JOBS["train"]["artifacts"]["paths"]
    assert {Path(path) for path in paths} == {Path(out, "artifact"), Path(out, "report.json")}
    for name in ("container", "quality gate", "build image"):
        assert out in script_of[name]
        assert "train" in JOBS[name]["needs"]
    run_folder = tmp_path / "release"
    version = save_version(tmp_path, taxonomy, "one")
    shutil.copytree(tmp_path / "one", run_folder / "artifact")
    (run_folder / "report.json").write_text(json.dumps({"model": version, "quality": {"a": 1}}))
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(tmp_path / "registry"))
    done, variables = of_registry("push.py", run_folder)
    assert done.returncode == 0, done.stderr
    assert variables == f"MODEL={version}\n"
    (record,) = (tmp_path / "registry/versions" / version).glob("*record*.json")
    assert json.loads(record.read_text())["report"]["quality"] == {"a": 1}


def of_registry(name, *arguments):
    """Runs a script of ``ci/`` with the real ``topiccore``; what it tells, and its file."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    file = Path(os.environ["TOPICCORE_REGISTRY"]).with_name("job.env")
    first, *rest = arguments
    done = subprocess.run(
        [sys.executable, CI / name, first, file, *rest],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    return done, file.read_text() if file.exists() else ""


def test_a_promotion_is_undone_when_it_is_not_deployed(tmp_path, taxonomy, monkeypatch):
    assert JOBS["promote"]["needs"] == ["promote in registry"]
    undo = JOBS["undo promotion"]
    assert undo["rules"][0]["when"] == "on_failure"
    assert {"promote", "promote in registry", "quality gate"} == set(undo["needs"])
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(tmp_path / "registry"))
    one, two = (save_version(tmp_path, taxonomy, name) for name in ("one", "two"))
    labels = write_labels(tmp_path / "labels.jsonl", tmp_path / "one", 40)

    def serves():
        return (tmp_path / "registry/channels/current").resolve().name

    def undone(variables):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        given = dict(line.split("=") for line in variables.split())
        given |= {"PATH": path, "MODEL": two, "CI_PIPELINE_ID": "1"}
        subprocess.run(
            ["sh", "-ec", undo["script"][-1]], env=os.environ | given, check=True, text=True
        )

    for name in ("one", "two"):
        assert topiccore(["registry", "push", str(tmp_path / name)]) == 0
    options = ("--labels", str(labels), "--latency-ratio", "100", "--limits-reason", "test")
    assert topiccore(["registry", "promote", one, *options]) == 0
    done, variables = of_registry("promote.py", two, *options)
    assert done.returncode == 0, done.stderr
    assert (variables, serves()) == ("PROMOTED=yes\n", two)
    undone(variables)
    assert serves() == one
    # Nothing changed, or the gates refused: nothing to undo.
    done, variables = of_registry("promote.py", one, *options)
    assert (done.returncode, variables) == (0, "PROMOTED=no\n")
    undone(variables)
    undone("")
    assert serves() == one
    assert script("promote").main(["model"]) == 2


def test_what_the_registry_refuses_fails(run, tmp_path):
    run("deploy.sh", "nowhere", IMAGE)  # makes the programs
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given = os.environ | {"PATH": path, "CALLS": str(tmp_path / "calls")}
    for name in ("promote", "push"):
        file = tmp_path / f"{name}.env"
        command = [sys.executable, CI / f"{name}.py", "abc", file]
        done = subprocess.run(command, env=given | {"FAIL_AT": name}, capture_output=True)
        assert done.returncode == 3
        assert not file.exists()


def test_production_is_asked_for_the_new_artifact():
    job = JOBS["production smoke test"]
    assert job["needs"] == ["promote", "quality gate"]
    assert job["script"] == ['python ci/smoke.py "$PRODUCTION_URL" "$MODEL"']
    assert JOBS["quality gate"]["artifacts"]["reports"] == {"dotenv": "model.env"}


def test_the_promotion_asks_the_canary_where_it_can(tmp_path):
    assert JOBS["promote in registry"]["needs"] == ["canary", "canary verdict", "quality gate"]
    lines = JOBS["promote in registry"]["script"][-2:]
    lines[-1] = lines[-1].replace("python ci/promote.py", "printf '%s\\n'")

    def told(address="", canary="yes", **more):
        given = {"MODEL": "abc", "CI_PIPELINE_ID": "1", "CANARY_URL": address, "CANARY": canary}
        return shell(lines, tmp_path, **given, **more)

    plain = ["abc", "promotion.env", "--reason", "pipeline 1"]
    assert told() == plain
    address = "http://canary.example"
    assert told(address) == [*plain, "--canary-url", address]
    assert told(address, canary="no") == plain
    assert told(NO_CANARY="a new format") == [*plain, "--override", "a new format"]


def test_the_registry_goes_back_only_where_this_pipeline_has_promoted(tmp_path):
    record = JOBS["record rollback"]
    assert set(record["needs"]) == {"rollback", "promote in registry", "quality gate"}
    assert JOBS["rollback"]["needs"] == ["promote"]
    # The image of kubectl has no topiccore.
    assert "extends" not in record
    given = {"MODEL": "abc", "CI_PIPELINE_ID": "1"}
    for promoted in ("no", ""):
        assert shell(record["script"][-1:], tmp_path, PROMOTED=promoted, **given) == []
    (told,) = shell(record["script"][-1:], tmp_path, PROMOTED="yes", **given)
    assert told.startswith("topiccore registry rollback --expect abc --reason pipeline 1")


def test_a_canary_that_fails_is_ended():
    job = JOBS["abort canary"]
    assert job["needs"] == ["canary", "canary verdict"]
    assert job["rules"][0]["when"] == "on_failure"
    assert job["script"] == ['ci/canary.sh production "$IMAGE" 0']


def test_without_a_canary_there_is_nothing_to_judge(tmp_path):
    judge = JOBS["canary verdict"]["script"]
    assert "canary" in JOBS["canary verdict"]["needs"]
    assert shell(judge, tmp_path, CANARY="no") == []
    assert len(shell(judge, tmp_path, CANARY="yes")) == 2
    (report,) = JOBS["canary"]["artifacts"]["reports"].values()
    assert JOBS["canary"]["script"][0].endswith(f" {report}")


def test_deploying_sets_both_images(run):
    done, calls = run("deploy.sh", "staging", IMAGE)
    assert done.returncode == 0, done.stderr
    apply, wait = [call for call in calls if "get" not in call["arguments"]]
    assert apply["arguments"][0] == "apply"
    made = yaml.safe_load(apply["kustomization"])
    assert made["resources"] == ["../overlays/staging"]
    assert made["images"] == [
        {"name": f"topiccore-{track}", "newName": IMAGE[:-7], "newTag": "abc123"}
        for track in ("stable", "canary")
    ]
    assert wait["arguments"][:4] == ["--namespace", "topiccore-staging", "rollout", "status"]
    assert not list((ROOT / "deploy").glob(".deploy-*"))


def test_deploying_by_digest(run):
    digest = "sha256:" + "0" * 64
    done, calls = run("deploy.sh", "openshift", f"registry.example/topiccore@{digest}")
    assert done.returncode == 0, done.stderr
    (made,) = [call["kustomization"] for call in calls if "kustomization" in call]
    (stable, _) = yaml.safe_load(made)["images"]
    assert (stable["newName"], stable["digest"]) == ("registry.example/topiccore", digest)
    assert calls[-1]["arguments"][1] == "topiccore"


@pytest.mark.parametrize("step", ["apply", "status"])
@pytest.mark.parametrize(("revision", "undone"), [("7", True), ("", False)])
def test_a_deploy_that_does_not_get_ready_goes_back(run, step, revision, undone):
    found = {"revision": revision, ".image": "old:1" if revision else ""}
    done, calls = run("deploy.sh", "production", IMAGE, FAIL_AT=step, found=found)
    assert done.returncode == 1
    assert step in calls[-2 if undone else -1]["arguments"]
    if undone:
        assert calls[-1]["arguments"][3] == "undo"
        assert calls[-1]["arguments"][-1] == "--to-revision=7"
    assert not list((ROOT / "deploy").glob(".deploy-*"))


@pytest.mark.parametrize(("old", "kept"), [("old:1", True), (IMAGE, False), ("", False)])
def test_a_deploy_keeps_the_image_before_it(run, old, kept):
    done, calls = run("deploy.sh", "production", IMAGE, found={".image": old})
    assert done.returncode == 0, done.stderr
    last = calls[-1]["arguments"]
    assert ("annotate" in last) == kept
    if kept:
        assert last[-1] == "topiccore/previous-image=old:1"


def test_a_deploy_takes_a_canarys_requests_before_its_pods(run):
    done, calls = run("deploy.sh", "production", IMAGE, found={".spec.replicas": "2"})
    assert done.returncode == 0, done.stderr
    did = [call["arguments"] for call in calls if "get" not in call["arguments"]]
    assert [one[2] for one in did[:2]] == ["patch", "scale"]
    assert did[2][0] == "apply"
    _, calls = run("deploy.sh", "production", IMAGE, found={".spec.replicas": "0"})
    assert "patch" not in [call["arguments"][2] for call in calls]


@pytest.mark.parametrize(
    "arguments", [["nowhere", IMAGE], ["staging"], ["staging", "registry.example:5000/topiccore"]]
)
def test_deploying_what_is_not_there(run, arguments):
    done, calls = run("deploy.sh", *arguments)
    assert done.returncode == 2
    assert done.stderr
    assert not calls


STARTS = {".image": "old:1", "eight": "0"}
"""Of a stable that is there, and no requests to the canary: HTTPRoute and Route have a weight."""


@pytest.mark.parametrize(("overlay", "percent"), [("production", 10), ("openshift", 100)])
def test_a_canary_gets_requests_when_it_is_ready(run, overlay, percent):
    done, calls = run("canary.sh", overlay, IMAGE, str(percent), found=STARTS)
    assert done.returncode == 0, done.stderr
    did = [call["arguments"][2] for call in calls]
    assert did == ["get", "get", "set", "scale", "rollout", "patch"]
    assert calls[2]["arguments"][-2:] == [f"topiccore={IMAGE}", "stable-artifact=old:1"]
    patch = json.loads(calls[-1]["arguments"][-1])
    if overlay == "openshift":
        spec = patch["spec"]
        weights = [spec["to"]["weight"], spec["alternateBackends"][0]["weight"]]
    else:
        weights = [one["value"] for one in patch]
        route = yaml.safe_load((ROOT / "deploy/base/route.yaml").read_text())
        for one, track in zip(patch, ("stable", "canary"), strict=True):
            place = route
            for step in one["path"].split("/")[1:-1]:
                place = place[int(step) if step.isdigit() else step]
            assert place["name"] == f"topiccore-{track}"
    assert weights == [100 - percent, percent]


@pytest.mark.parametrize("overlay", ["production", "openshift"])
@pytest.mark.parametrize(("weight", "ended"), [("0", True), ("10", False)])
def test_a_canary_that_does_not_get_ready_gets_nothing(run, overlay, weight, ended):
    found = STARTS | {"eight": weight}
    done, calls = run("canary.sh", overlay, IMAGE, "10", FAIL_AT="rollout", found=found)
    assert done.returncode == 1
    did = [call["arguments"] for call in calls]
    assert "rollout" in [one[2] for one in did]
    assert "patch" not in [one[2] for one in did]
    # Pods of a canary that has requests are those that answer them.
    assert (did[-1][-1] == "--replicas=0") == ended


def test_without_stable_there_is_no_canary(run):
    done, calls = run("canary.sh", "production", IMAGE, "10")
    assert done.returncode == 1
    assert "topiccore-stable" in done.stderr
    assert [call["arguments"][2] for call in calls] == ["get"]


@pytest.mark.parametrize(
    ("found", "reason", "canary"),
    [
        (STARTS, {}, "yes"),
        ({}, {}, "no"),
        (STARTS, {"NO_CANARY": "a new format"}, "no"),
    ],
)
def test_a_pipeline_is_told_whether_there_is_a_canary(run, tmp_path, found, reason, canary):
    file = tmp_path / "canary.env"
    done, calls = run("canary.sh", "production", IMAGE, "10", str(file), found=found, **reason)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == f"CANARY={canary}\n"
    assert ("patch" in [call["arguments"][2] for call in calls]) == (canary == "yes")
    assert reason.get("NO_CANARY", "") in done.stdout


@pytest.mark.system
def test_the_canary_gets_both_images(run):
    """What ``ci/canary.sh`` tells kubectl, done by the real one to the manifest."""
    _, calls = run("canary.sh", "production", IMAGE, "10", found=STARTS)
    images = calls[2]["arguments"][-2:]
    manifest = ROOT / "deploy/base/canary.yaml"
    done = subprocess.run(
        [tool().kubectl(WORK), "set", "image", "--local", "-f", manifest, "-o", "json", *images],
        capture_output=True,
        check=True,
        text=True,
    )
    pod = json.loads(done.stdout)["spec"]["template"]["spec"]
    assert [one["image"] for one in pod["containers"]] == [IMAGE]
    assert [one["image"] for one in pod["initContainers"]] == ["old:1"]


def test_ending_a_canary_takes_its_requests_first(run):
    done, calls = run("canary.sh", "production", IMAGE, "0")
    assert done.returncode == 0, done.stderr
    assert [call["arguments"][2] for call in calls] == ["patch", "scale"]
    assert calls[1]["arguments"][-1] == "--replicas=0"


@pytest.mark.parametrize("percent", ["101", "-1", "ten", "", "1000"])
def test_a_share_that_is_none(run, percent):
    done, calls = run("canary.sh", "production", IMAGE, percent)
    assert done.returncode == 2
    assert not calls


BEFORE = {"previous-image": "old:1"}


def test_rolling_back_ends_the_canary_first_and_is_recorded(run):
    done, calls = run("rollback.sh", "production", "abc", "it was worse", found=BEFORE)
    assert done.returncode == 0, done.stderr
    did = [call["arguments"] for call in calls]
    assert [one[2] for one in did[:-1]] == ["get", "patch", "scale", "set", "rollout", "annotate"]
    assert did[3][-2:] == ["deployment/topiccore-stable", "topiccore=old:1"]
    # Going back again is not going to what was bad.
    assert did[5][-1] == "topiccore/previous-image-"
    assert did[6] == ["registry", "rollback", "--expect", "abc", "--reason", "it was worse"]


def test_rolling_back_the_image_alone(run, tmp_path):
    registry = {"TOPICCORE_REGISTRY": str(tmp_path)}
    done, calls = run("rollback.sh", "production", found=BEFORE, **registry)
    assert done.returncode == 0, done.stderr
    assert "registry" not in [call["arguments"][0] for call in calls]


def test_without_an_image_before_there_is_nothing_to_go_back_to(run):
    done, calls = run("rollback.sh", "production")
    assert done.returncode == 1
    assert "no image before this one" in done.stderr
    assert [call["arguments"][2] for call in calls] == ["get"]


def test_an_image_is_made_of_an_artifact_only(run, tmp_path, artifact_path):
    done, calls = run("image.sh", str(tmp_path), "service", "topiccore:1")
    assert done.returncode == 2
    assert "no artifact" in done.stderr
    assert not calls
    done, calls = run("image.sh", str(artifact_path), "service", "topiccore:1", "--quiet")
    assert done.returncode == 0, done.stderr
    assert f"artifact={artifact_path}" in calls[0]["arguments"]


def test_the_smoke_test_asks_a_service(tmp_path, capsys, monkeypatch):
    smoke = script("smoke")
    monkeypatch.setattr(smoke, "SECONDS", 0)
    model = save_tiny_artifact(tmp_path / "tiny")
    with running_server(tmp_path / "tiny", tmp_path, workers=1) as server:
        address = f"http://127.0.0.1:{server.port}"
        assert smoke.main([address]) == 0
        assert smoke.main([address + "/", model[:12]]) == 0
        assert smoke.main([address, "f" * 12 if model[0] != "f" else "0" * 12]) == 1
        assert "answers with artifact" in capsys.readouterr().err
    assert smoke.main([address]) == 1
    assert smoke.main([]) == 2


STABLE, CANARY, COMPARED = (90_000, 0, 0.001), (10_000, 0, 0.001), (10_000, 0, 0, 0.00001)


@pytest.mark.parametrize(
    ("stable", "canary", "compared", "problem"),
    [
        (STABLE, CANARY, COMPARED, None),
        (STABLE, (999, 0, 0.001), COMPARED, "fewer than"),
        (STABLE, (10_000, 11, 0.001), COMPARED, "failed"),
        ((90_000, 900, 0.001), (10_000, 100, 0.001), COMPARED, None),
        (STABLE, (10_000, 0, 0.0016), COMPARED, "p99"),
        (STABLE, (10_000, 0, float("nan")), COMPARED, "p99"),
        ((0, 0, float("nan")), CANARY, COMPARED, None),
        # The other artifact's time is not the canary's fault.
        (STABLE, (10_000, 0, 0.0016), (10_000, 0, 0, 0.0001), None),
        (STABLE, CANARY, (999, 0, 0, 0.00001), "compared, fewer than"),
        (STABLE, CANARY, (0, 0, 0, float("nan")), "compared, fewer than"),
        (STABLE, CANARY, (10_000, 500, 0, 0.00001), None),
        (STABLE, CANARY, (10_000, 501, 0, 0.00001), "5.01% of the answers differ"),
        (STABLE, CANARY, (10_000, 0, 1, 0.00001), "the comparison of 1 queries failed"),
        # One artifact in both.
        (STABLE, CANARY, None, None),
    ],
)
def test_the_verdict_on_a_canary(stable, canary, compared, problem):
    verdict = script("verdict")
    comparison = None if compared is None else verdict.Comparison(*compared)
    found = verdict.judge(verdict.Track(*stable), verdict.Track(*canary), comparison)
    assert bool(found) == bool(problem)
    if problem:
        assert problem in found[0]


@pytest.mark.parametrize(
    ("answering", "differing", "code"), [(0, 100, 0), (0, 2_000, 1), (3, 2_000, 0)]
)
def test_the_verdict_comes_from_prometheus(capsys, answering, differing, code):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)["query"][0]
            asked.append(query)
            small = "5.." in query or "failures" in query
            figure = 0.001 if "quantile" in query else 0 if small else 20_000
            figure = answering if "model_workers" in query else figure
            figure = differing if "differing" in query else figure
            body = json.dumps({"data": {"result": [{"value": [0, str(figure)]}]}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert script("verdict").main([address, "topiccore", "5", "abc"]) == code
        server.shutdown()
    output = capsys.readouterr()
    assert "20000 requests" in output.out
    assert ("differ" in output.err) == bool(code)
    assert len(asked) == (7 if answering else 11)
    for query in asked:
        assert 'namespace="topiccore"' in query
        assert "[5m]" in query or "model_workers" in query
        assert ('=~"abc[' in query) == bool(re.search("model_workers|compar|differing", query))
        assert query.count("{") == query.count("}") == 1
        assert query.count("(") == query.count(")")


def test_a_verdict_needs_its_arguments():
    assert script("verdict").main([]) == 2
    assert script("verdict").main(["http://127.0.0.1:1", "topiccore", "5", 'a"} or vector(9']) == 2
