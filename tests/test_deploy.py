"""Manifests, image and settings agree with each other and with the service."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import falcon.testing
import jsonschema
import pytest
import yaml
from deploy_support import WORK, tool

from service.app import create_app
from service.command import configure
from service.shared import make_folder, remove_folder
from topiccore import TopiccoreError, load

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TRACKS = ("stable", "canary")
OVERLAYS = ("staging", "production", "openshift")
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def base() -> list:
    """The manifests of the base, as they are written."""
    files = yaml.safe_load((DEPLOY / "base/kustomization.yaml").read_text())["resources"]
    return [
        one for name in files for one in yaml.safe_load_all((DEPLOY / "base" / name).read_text())
    ]


@pytest.fixture(
    params=["base", *(pytest.param(name, marks=pytest.mark.system) for name in OVERLAYS)]
)
def documents(request):
    """The manifests of the base, and of each overlay as kubectl renders it."""
    if request.param == "base":
        return base()
    return list(yaml.safe_load_all(tool().render(request.param, WORK)))


def of(documents, kind):
    """The manifests of a kind."""
    return [one for one in documents if one["kind"] == kind]


def arguments():
    """The arguments that the image starts the service with."""
    text = re.search(r"^ENTRYPOINT (\[.*?\])$", DOCKERFILE, re.M | re.S)[1]
    return json.loads(text.replace("\\\n", ""))


def parse(options):
    """What ``topiccore serve`` makes of options; exits for those it does not have."""
    import argparse

    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(options)


def test_the_image_starts_the_command():
    assert arguments()[:2] == ["topiccore", "serve"]
    parsed = parse(arguments()[2:])
    assert (parsed.host, parsed.metrics_host) == ("0.0.0.0", "0.0.0.0")
    assert parsed.model == Path("/model")
    assert {str(parsed.port), str(parsed.metrics_port)} == set(
        re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.M)[1].split()
    )
    assert f"'127.0.0.1', {parsed.port}," in DOCKERFILE
    assert "/model/" in (ROOT / "model.Dockerfile").read_text()
    user, group = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.M).groups()
    assert int(user) > 0
    assert group == "0"


def test_the_build_gets_every_package_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    folders = {name for name in allowed if "." not in name and name != "LICENSE"}
    assert packages <= folders
    assert allowed - folders == {"pyproject.toml", "setup.py", "README.md", "LICENSE"}


def test_ports_are_those_of_the_image(documents):
    parsed = parse(arguments()[2:])
    listened = {"http": parsed.port, "metrics": parsed.metrics_port}
    for one in of(documents, "Deployment"):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        assert {port["name"]: port["containerPort"] for port in container["ports"]} == listened
    for one in of(documents, "Service"):
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= set(listened)
    for one in of(documents, "ServiceMonitor"):
        ports = {
            port["name"]
            for service in of(documents, "Service")
            for port in service["spec"]["ports"]
        }
        assert {end["port"] for end in one["spec"]["endpoints"]} <= ports
    for one in of(documents, "NetworkPolicy"):
        named = {
            port["port"]
            for rule in one["spec"]["ingress"]
            for port in rule["ports"]
            if isinstance(port["port"], str)
        }
        assert named == set(listened)


def test_the_arguments_of_containers_are_options_of_the_service(documents):
    for one in of(documents, "Deployment"):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        assert parse([*arguments()[2:], *container["args"]]).workers >= 1


def test_probes_point_at_what_answers(documents, model):
    client = falcon.testing.TestClient(create_app(model))
    for one in of(documents, "Deployment"):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[kind]["httpGet"]
            assert client.simulate_get(probe["path"]).status_code == 200
            assert probe["port"] == "http"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_profiles_name_routes_and_services_that_are_there(documents, model):
    paths = set(
        json.loads(falcon.testing.TestClient(create_app(model)).get("/openapi.json").text)["paths"]
    )
    names = {one["metadata"]["name"] for one in of(documents, "Service")}
    space = next((one["metadata"]["name"] for one in of(documents, "Namespace")), "topiccore")
    profiles = of(documents, "ServiceProfile")
    assert {one["metadata"]["name"] for one in profiles} == {
        f"{name}.{space}.svc.cluster.local" for name in names
    }
    for one in profiles:
        for route in one["spec"]["routes"]:
            assert route["condition"]["pathRegex"] in paths
            assert (
                route["name"] == f"{route['condition']['method']} {route['condition']['pathRegex']}"
            )


def test_selectors_match(documents):
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of(documents, "Deployment")
    }
    assert set(pods) == {f"topiccore-{track}" for track in TRACKS}

    def chosen(selector):
        return {name for name, labels in pods.items() if selector.items() <= labels.items()}

    for one in of(documents, "Deployment"):
        assert chosen(one["spec"]["selector"]["matchLabels"]) == {one["metadata"]["name"]}
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert chosen(spread["labelSelector"]["matchLabels"]) == {one["metadata"]["name"]}
    for one in of(documents, "Service"):
        assert chosen(one["spec"]["selector"]) == {one["metadata"]["name"]}
    for one in of(documents, "PodDisruptionBudget"):
        assert chosen(one["spec"]["selector"]["matchLabels"]) == set(pods)
    for one in of(documents, "NetworkPolicy"):
        assert chosen(one["spec"]["podSelector"]["matchLabels"]) == set(pods)
    for one in of(documents, "ServiceMonitor"):
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert all(
            wanted <= service["metadata"]["labels"].items() for service in of(documents, "Service")
        )
    for one in of(documents, "HorizontalPodAutoscaler"):
        assert one["spec"]["scaleTargetRef"]["name"] == "topiccore-stable"
        assert one["spec"]["minReplicas"] <= one["spec"]["maxReplicas"]


def test_pods_are_in_the_mesh(documents):
    for one in of(documents, "Deployment"):
        notes = one["spec"]["template"]["metadata"]["annotations"]
        assert notes["linkerd.io/inject"] == "enabled"
        # Prometheus is not in it, and asks the port of the metrics.
        (container,) = one["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        assert notes["config.linkerd.io/skip-inbound-ports"] == ports["metrics"]


def test_pods_are_spread_over_zones_and_nodes(documents):
    for one in of(documents, "Deployment"):
        spread = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        assert all(each["maxSkew"] == 1 for each in spread)


def test_pods_are_as_many_as_their_processors_need(documents):
    (scaler,) = of(documents, "HorizontalPodAutoscaler")
    (resource,) = [one["containerResource"] for one in scaler["spec"]["metrics"][:1]]
    # Of the service's container: linkerd's proxy has a share of the pod's.
    assert (resource["name"], resource["container"]) == ("cpu", "topiccore")
    assert resource["target"]["type"] == "Utilization"
    assert 0 < resource["target"]["averageUtilization"] < 100


def test_metrics_tell_their_track(documents):
    (monitor,) = of(documents, "ServiceMonitor")
    (end,) = monitor["spec"]["endpoints"]
    (rule,) = [one for one in end["relabelings"] if one["targetLabel"] == "track"]
    (source,) = rule["sourceLabels"]
    for one in of(documents, "Deployment"):
        labels = one["spec"]["template"]["metadata"]["labels"]
        found = {re.sub(r"\W", "_", name): value for name, value in labels.items()}
        track = found[source.removeprefix("__meta_kubernetes_pod_label_")]
        assert one["metadata"]["name"] == f"topiccore-{track}"


def test_routes_are_retried_and_bounded(documents):
    for one in of(documents, "ServiceProfile"):
        assert one["spec"]["retryBudget"]["retryRatio"] <= 0.2
        for route in one["spec"]["routes"]:
            assert route["isRetryable"] is True
            slow = route["condition"]["pathRegex"].endswith(":batch")
            assert route["timeout"] == ("2s" if slow else "250ms"), route["name"]


def test_pods_talk_to_no_one_else(documents):
    (policy,) = of(documents, "NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    asking = {}
    for rule in policy["spec"]["ingress"]:
        for port in rule["ports"]:
            asking[port["port"]] = [
                one["namespaceSelector"]["matchLabels"]
                for one in rule["from"]
                if "namespaceSelector" in one
            ]
        # Nothing empty: that would be everybody, in every namespace.
        assert rule["from"]
        assert all(one.get("namespaceSelector") != {} for one in rule["from"])
    assert asking["http"] == [{"topiccore/access": "clients"}]
    assert asking["metrics"] == [{"topiccore/access": "metrics"}]
    name = "kubernetes.io/metadata.name"
    mesh, resolver = policy["spec"]["egress"]
    assert mesh == {"to": [{"namespaceSelector": {"matchLabels": {name: "linkerd"}}}]}
    (place,) = resolver["to"]
    (space,) = place["namespaceSelector"]["matchLabels"].items()
    assert space in ((name, "kube-system"), (name, "openshift-dns"))
    port = 5353 if space[1] == "openshift-dns" else 53
    assert sorted((one["port"], one["protocol"]) for one in resolver["ports"]) == [
        (port, "TCP"),
        (port, "UDP"),
    ]


def test_weights_are_per_cent_and_begin_without_a_canary(documents):
    if of(documents, "Route"):
        (route,) = of(documents, "Route")
        backends = [route["spec"]["to"], *route["spec"]["alternateBackends"]]
    else:
        (route,) = of(documents, "HTTPRoute")
        (rule,) = route["spec"]["rules"]
        backends = rule["backendRefs"]
    services = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
        for one in of(documents, "Service")
    }
    assert {one["name"]: one["weight"] for one in backends} == {
        "topiccore-stable": 100,
        "topiccore-canary": 0,
    }
    for one in backends:
        assert one.get("port", 80) in services[one["name"]]
    replicas = {
        one["metadata"]["name"]: one["spec"].get("replicas") for one in of(documents, "Deployment")
    }
    assert replicas == {"topiccore-stable": None, "topiccore-canary": 0}


def test_the_canary_answers_and_is_compared_with_stable(documents, tmp_path, artifact_path):
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in of(documents, "Deployment")
    }
    (container,) = pods["topiccore-canary"]["containers"]
    parsed = parse([*arguments()[2:], *container["args"]])
    assert (parsed.canary, parsed.canary_share) == (Path("/model"), 1)
    (ahead,) = pods["topiccore-canary"]["initContainers"]
    # What deploys stable names both images alike.
    assert ahead["image"] == pods["topiccore-stable"]["containers"][0]["image"]
    # Its code copies an artifact that no one may write, twice; paths apart it is run as it is.
    read_only = tmp_path / "model"
    shutil.copytree(artifact_path, read_only)
    for place in [*read_only.iterdir(), read_only]:
        place.chmod(0o555)
    *command, code = ahead["command"]
    assert command == ["python", "-I", "-c"]
    target = Path(parsed.model)
    assert str(target) in code
    volume = tmp_path / "volume"
    code = code.replace(f'"{target}"', repr(str(volume / target.name)))
    code = code.replace('"/model"', repr(str(read_only)))
    for _ in range(2):
        subprocess.run([sys.executable, "-I", "-c", code], check=True)
    assert load(volume / target.name).id == load(artifact_path).id
    (written,) = ahead["volumeMounts"]
    assert written["mountPath"] == str(target.parent)
    assert written | {"readOnly": True} in container["volumeMounts"]
    plain = parse([*arguments()[2:], *pods["topiccore-stable"]["containers"][0]["args"]])
    assert (plain.canary, plain.shadow) == (None, None)


def test_pods_are_restricted_and_bounded(documents):
    for one in of(documents, "Deployment"):
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert "runAsUser" not in pod["securityContext"]
        assert pod["automountServiceAccountToken"] is False
        for each in (container, *pod.get("initContainers", [])):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert mebibytes(requests["memory"]) <= mebibytes(limits["memory"])
        # Files in memory count as the container's memory.
        volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
        assert mebibytes(volumes["shared"]["sizeLimit"]) < mebibytes(limits["memory"]) / 2
        disk = sum(
            mebibytes(volume["sizeLimit"])
            for volume in volumes.values()
            if volume.get("medium") != "Memory"
        )
        assert disk < mebibytes(limits["ephemeral-storage"])
        writable = {
            mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")
        }
        assert writable == {"/tmp", "/dev/shm"}
        stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] > stop + 10


def mebibytes(text):
    """The number of a quantity such as 64Mi."""
    assert text.endswith("Mi")
    return int(text[:-2])


def test_what_processes_share_lies_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPICCORE_MEMORY_FOLDER", str(tmp_path))
    folder, _ = make_folder()
    assert folder.parent == tmp_path
    remove_folder(folder)
    monkeypatch.setenv("TOPICCORE_MEMORY_FOLDER", str(tmp_path / "none"))
    with pytest.raises(TopiccoreError, match="TOPICCORE_MEMORY_FOLDER"):
        make_folder()


@pytest.mark.system
def test_every_manifest_is_valid(documents):
    pytest.importorskip("kubernetes_validate")
    assert tool().problems(documents, WORK) == []


@pytest.mark.system
def test_openshift_itself_tells_of_a_wrong_route():
    """Its own schema does, where ours is not asked."""
    schema = tool().openshift(WORK)
    route = yaml.safe_load((DEPLOY / "overlays/openshift/route.yaml").read_text())
    jsonschema.validate(route, schema)
    for path, value in ((("to", "weight"), "most"), (("to", "share"), 1), (("to",), None)):
        wrong = copy.deepcopy(route)
        place = wrong["spec"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        if value is None:
            del place[path[-1]]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


@pytest.mark.system
@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "readynessProbe"), {}),
        ("Deployment", ("spec", "selector"), None),
        ("HorizontalPodAutoscaler", ("spec", "maxReplicas"), "many"),
        ("HTTPRoute", ("spec", "rules", 0, "backendRefs", 0, "weight"), "most"),
        ("ServiceMonitor", ("spec", "endpoints"), "metrics"),
        ("ServiceProfile", ("spec", "retryBudget", "ttl"), "soon"),
        ("ServiceProfile", ("spec", "retries"), 3),
        ("Route", ("spec", "to", "weight"), "most"),
        ("Route", ("spec", "to", "weight"), 257),
        ("Route", ("spec", "to"), None),
        ("Route", ("spec", "to", "name"), None),
        ("Route", ("spec", "weight"), 1),
        ("Route", ("spec", "alternateBackends", 0, "share"), 1),
        ("Route", ("spec", "tls", "termination"), "egde"),
        ("Route", ("metadata", "label"), {}),
    ],
)
def test_a_wrong_manifest_is_found(kind, path, value):
    route = yaml.safe_load((DEPLOY / "overlays/openshift/route.yaml").read_text())
    wrong = copy.deepcopy(of([*base(), route], kind)[0])
    place = wrong
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    found = tool().problems([wrong], WORK)
    assert len(found) == 1
    assert found[0].startswith(kind)
