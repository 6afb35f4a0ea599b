"""Services as containers: images by buildah, run by runc with this machine's network."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools import container_check as images
from tools.local import processes
from tools.local.build_context import digest
from tools.local.errors import LocalError

REGISTRY = "/registry"
"""Where a container finds the registry of models."""


def store(work: Path) -> images.Buildah:
    """The store of images in a folder; raises ``LocalError`` when a program is missing."""
    missing = [name for name in images.PROGRAMS if shutil.which(name) is None]
    if missing:
        raise LocalError(f"not installed: {', '.join(missing)} (Debian's packages)")
    work.mkdir(parents=True, exist_ok=True)
    return images.Buildah(work.resolve())


def build(work: Path, artifact: Path, identity: str) -> str:
    """The name of the image with an artifact in it, which is built where it is missing.

    The first build of a state of the code makes the image of the service, too; later ones add a
    model to it.
    """
    buildah = store(work)
    name = f"localhost/topiccore:{identity[:12]}"
    state = digest(images.ROOT)[:12]
    service, image = f"localhost/topiccore-service:{state}", f"{name}-{state}"
    if not buildah.has(service):
        images.make_base(buildah, work.resolve())
        images.build(buildah, work.resolve(), artifact.resolve())
        buildah("tag", images.SERVICE, service)
        buildah("tag", images.IMAGE, image)
    elif not buildah.has(image):
        buildah.build(
            work.resolve() / "model.log",
            *(str(images.ROOT / "ci/image.sh"), str(artifact.resolve()), service, image),
            *buildah.build_options,
        )
    buildah("tag", image, name)
    return name


def start(
    work: Path, image: str, options: Sequence[str], registry: Path, folder: Path, role: str
) -> dict[str, Any]:
    """Runs an image as a restricted pod would, the registry mounted; returns what stops it."""
    buildah = store(work)
    described = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]
    container = buildah("from", "--pull-never", image)
    config = images.specification(Path(buildah("mount", container)), described)
    config["process"]["args"] += options
    config["mounts"].append(images.read_only(registry, REGISTRY))
    bundle = folder / f"{role}.bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    name = f"topiccore-{digest}-{role}"
    subprocess.run(["runc", "delete", "--force", name], stderr=subprocess.DEVNULL, check=False)
    pid_file = bundle / "pid"
    with (folder / f"{role}.log").open("wb") as output:
        done = subprocess.run(
            ["runc", "run", "--detach", "--bundle", str(bundle), "--pid-file", str(pid_file), name],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        buildah("rm", container)
        raise LocalError(f"runc did not start {image}; see {folder / f'{role}.log'}")
    found = processes.mark(int(pid_file.read_text()))
    return found | {"name": name, "container": container, "work": str(work), "image": image}


def stop(service: dict[str, Any]) -> None:
    """Stops a container as Kubernetes does, and removes it."""
    kill = ["runc", "kill", service["name"]]
    subprocess.run([*kill, "TERM"], stderr=subprocess.DEVNULL, check=False)
    deadline = time.monotonic() + processes.STOP_SECONDS
    while processes.lives(service):
        if time.monotonic() > deadline:
            subprocess.run([*kill, "KILL"], stderr=subprocess.DEVNULL, check=False)
        time.sleep(0.02)
    subprocess.run(
        ["runc", "delete", "--force", service["name"]], stderr=subprocess.DEVNULL, check=False
    )
    store(Path(service["work"]))("rm", service["container"])
