"""Alert rules and dashboard ask for metrics that there are; a real Prometheus answers them."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from service_support import (
    DEADLINE,
    LABELS,
    free_port,
    kill_group,
    running_server,
    save_tiny_artifact,
    wait_for,
)

from service import answer_counts, comparison_counts, request_meter
from topiccore import Taxonomy, artifact
from topiccore.artifact import save

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy/monitoring"
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
QUERIES = [
    (panel["title"], target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
NAME = re.compile(r"\btopiccore_[a-z_]+")
EXPECTED = {
    "coverage": 0.75,
    "unknown_tokens": 0.25,
    "labels": {label.code: 1 / (i + 2) for i, label in enumerate(LABELS)},
}
VERDICT = ROOT / "ci/verdict.py"


def exported() -> set[str]:
    """The names that the service gives, as its own modules tell."""
    source = (ROOT / "service/metrics.py").read_text()
    names = set(re.findall(r'"(topiccore_[a-z_]+)"', source))
    names |= {f"topiccore_{kind}_ratio" for kind in ("coverage", "unknown_tokens")}
    names |= {f"topiccore_expected_{kind}_ratio" for kind in ("coverage", "unknown_tokens")}
    names |= {"topiccore_build_info", "topiccore_lost_workers_total"}
    for module in (answer_counts, comparison_counts, request_meter):
        for key, value in vars(module).items():
            if key.endswith("_NAME") or key == "NAMES":
                names |= {value} if isinstance(value, str) else set(value)
    return names | {f"{name}_bucket" for name in names if name.endswith("_seconds")}


def test_every_metric_is_exported():
    adapter = (FOLDER / "prometheus-adapter.yaml").read_text()
    asked = {name for rule in RULES for name in NAME.findall(rule["expr"])}
    asked |= {name for _, query in QUERIES for name in NAME.findall(query)}
    asked |= set(re.findall(r"seriesQuery: (topiccore_[a-z_]+)", adapter))
    judged = set(NAME.findall(VERDICT.read_text()))
    assert len(judged) >= 6
    asked |= judged
    assert len(asked) > 20
    assert asked - exported() == set()


def test_the_autoscaler_asks_for_the_adapters_metric():
    adapter = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())
    scaler = yaml.safe_load((ROOT / "deploy/base/autoscaler.yaml").read_text())
    wanted = [one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"] if "pods" in one]
    assert wanted == [one["name"]["as"] for one in adapter["rules"]["custom"]]


def test_every_alert_is_tested_and_tells_what_to_do():
    tests = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]
    fired = {
        case["alertname"] for one in tests for case in one["alert_rule_test"] if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in RULES}
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_the_dashboard_is_what_its_tool_writes():
    code = "import json, make_dashboard; print(json.dumps(make_dashboard.dashboard()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tools", capture_output=True, check=True
    )
    assert json.loads(done.stdout) == DASHBOARD


def test_the_dashboard_is_laid_out():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_staging_is_not_mixed_with_production():
    (variable,) = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "namespace"]
    assert variable["current"]["value"] == "topiccore"
    for title, query in QUERIES:
        assert len(NAME.findall(query)) == query.count('{namespace="$namespace"'), title
    for rule in RULES:
        for labels in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
            assert "namespace" in labels.split(", "), rule["alert"]


@pytest.mark.system
def test_promtool_takes_the_rules():
    assert shutil.which("promtool"), "apt-get install prometheus"
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
def test_prometheus_answers_every_query(tmp_path, make_artifact):
    """Scrapes a service that compares two artifacts; every panel has data, no rule fails."""
    stable, shadow = tmp_path / "stable", tmp_path / "shadow"
    save_tiny_artifact(stable, training={"expected": EXPECTED})
    save(make_artifact(Taxonomy(LABELS)), shadow)
    port = free_port()
    options = ("--metrics-port", str(port), "--shadow", str(shadow), "--shadow-share", "1")
    with running_server(stable, tmp_path, *options) as server:
        prometheus = Prometheus(tmp_path, port)
        with contextlib.closing(prometheus):
            words = ["honda soup", "soup", "honda", "unheard of"]
            body = json.dumps({"queries": (words * 250)[:1000]})
            kind = {"Content_Type": "application/json"}

            def ask():
                assert server.ask("/v1/topics:batch", "POST", body, **kind)[0] == 200
                assert server.ask("/v1/topics?q=honda")[0] == 200

            for _ in range(6):
                ask()

            def empty():
                ask()
                return [title for title, query in QUERIES if not prometheus.query(query)]

            with contextlib.suppress(AssertionError):
                wait_for(lambda: not empty())
            assert empty() == []
            for rule in RULES:
                prometheus.query(rule["expr"])
            states = prometheus.get("rules")["groups"][0]["rules"]
            assert {one["name"] for one in states} == {rule["alert"] for rule in RULES}
            assert {one["health"] for one in states} <= {"ok", "unknown"}


@pytest.mark.system
def test_the_verdict_of_a_real_prometheus(tmp_path):
    """A canary as its manifest has it; it answers one word in three unlike stable."""
    stable, new = tmp_path / "stable", tmp_path / "new"
    old_id = save_tiny_artifact(stable)
    changed = artifact.load(stable)
    thresholds = changed.thresholds.copy()
    thresholds[[label.code for label in LABELS].index("F")] = np.inf
    new_id = save(replace(changed, thresholds=thresholds, beside=thresholds), new)
    ports = {"stable": free_port(), "canary": free_port()}
    manifest = yaml.safe_load((ROOT / "deploy/base/canary.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    places = {"/stable/model": str(stable), "/model": str(new)}
    options = [option.partition("=") for option in container["args"]]
    options = [f"{name}={places.get(value, value)}" for name, _, value in options]
    options = [option for option in options if not option.startswith("--workers")]
    with contextlib.ExitStack() as stack:
        servers = {}
        for track, more in (("stable", [f"--model={stable}"]), ("canary", options)):
            folder = tmp_path / track / "log"
            folder.mkdir(parents=True)
            more = [*more, "--metrics-port", str(ports[track])]
            servers[track] = stack.enter_context(running_server(None, folder, *more, workers=1))
        prometheus = stack.enter_context(
            contextlib.closing(Prometheus(tmp_path, **ports, namespace="shop"))
        )

        def ask(track, words, times):
            with contextlib.closing(servers[track].connect()) as connection:
                for i in range(times):
                    connection.request("GET", f"/v1/topics?q={words[i % len(words)]}")
                    answer = connection.getresponse()
                    assert answer.status == 200
                    assert json.loads(answer.read())["model"] == (
                        new_id if track == "canary" else old_id
                    )

        def verdict(*more):
            done = subprocess.run(
                [sys.executable, VERDICT, prometheus.address, "shop", "5", *more],
                capture_output=True,
                text=True,
            )
            return done.returncode, done.stdout, done.stderr

        def enough():
            ask("stable", ["honda", "truck"], 600)
            ask("canary", ["honda", "truck"], 600)
            # What a window begins with is estimated, so more than is needed.
            told = re.findall(r": (\d+) (?:requests|queries)", verdict(new_id)[1])
            return min(map(int, told)) > 2000

        code, _, errors = verdict(new_id)
        assert code == 1
        assert "fewer than 1000" in errors
        wait_for(enough)
        code, output, errors = verdict(new_id)
        assert re.search(r"canary: [1-9]\d{3,} requests, 0 failed, p99 0\.\d+ s", output)
        assert re.search(r"compared: [1-9]\d{3,} queries, 0 with other labels, 0 failed", output)
        # Machines of tests are busy: whose p99 is longer is not what is tested here.
        assert (code == 0) == (errors == "")
        assert [line for line in errors.splitlines() if "p99" not in line] == []
        # Of another version nothing was compared; one that stable has needs no comparison.
        assert "0 queries were compared" in verdict("0" * 64)[2]
        assert "nothing to compare" in verdict(old_id)[1]

        def differs():
            ask("canary", ["honda", "truck", "soup"], 600)
            return "of the answers differ" in verdict(new_id)[2]

        wait_for(differs)
        assert verdict(new_id)[0] == 1


class Prometheus:
    """A server of its own, that scrapes a port of each track."""

    def __init__(self, folder, stable, canary=None, namespace="topiccore"):
        assert shutil.which("prometheus"), "apt-get install prometheus"
        config = folder / "prometheus.yml"
        jobs = [
            {
                "job_name": f"topiccore-{track}",
                "scrape_interval": "1s",
                "static_configs": [
                    {
                        "targets": [f"127.0.0.1:{scraped}"],
                        "labels": {"track": track, "namespace": namespace},
                    }
                ],
            }
            for track, scraped in (("stable", stable), ("canary", canary))
            if scraped
        ]
        rules = [str(FOLDER / "alerts.yaml")]
        config.write_text(yaml.safe_dump({"scrape_configs": jobs, "rule_files": rules}))
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._base = f"{self.address}/api/v1/"
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._scrapes)

    def _scrapes(self):
        with contextlib.suppress(OSError):
            return bool(self.query("topiccore_workers"))
        return False

    def get(self, path, **parameters):
        """The data of an answer; an error of Prometheus is one here."""
        address = self._base + path + "?" + urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(address, timeout=DEADLINE) as response:
            found = json.load(response)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, text):
        """What a query gives that has a number."""
        text = text.replace("$__rate_interval", "15s").replace("$namespace", "topiccore")
        result = self.get("query", query=text)["result"]
        return [one for one in result if one["value"][1] != "NaN"]

    def close(self):
        kill_group(self._process)
