"""Builds the image and runs it as a cluster would: any user id, nothing writable but tmpfs.

    python tools/container_check.py [--artifact DIR]       (as root; make container)

Needs buildah, debootstrap and runc, and no image registry: the base is a Debian with Python made by
debootstrap.  The service is started by ``buildah run``, in the image as it was built, and by runc,
restricted as a pod is; by runc also without a model in its image, with one that is mounted.
Prints the figures that the image is held to and returns 1 when one is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BASE = "localhost/topiccore-base:bookworm"
SERVICE = "localhost/topiccore-service:check"
IMAGE = "localhost/topiccore:check"
BUILD_PACKAGES = "gcc libc6-dev python3-dev python3-venv"
PROGRAMS = ("buildah", "debootstrap", "runc")
FORBIDDEN = ("scipy", "sklearn", "gensim", "torch", "pip", "setuptools", "Cython")
USER = 1_234_567_890
"""A user id as OpenShift gives it; no passwd file knows it."""
MOST_MEGABYTES = 150
MOST_SECONDS = 1.0
STARTS = 5
DEADLINE = 30.0


def main() -> int:
    """Returns 0 when the image keeps to everything, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--artifact", type=Path, default=ROOT / "runs/demo/artifact", metavar="DIR")
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".cache/container", help="keeps the base and the images"
    )
    arguments = parser.parse_args()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (Debian's packages are named alike)")
    if not (arguments.artifact / "manifest.json").exists():
        sys.exit(f"{arguments.artifact} is no artifact; make demo trains one")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    buildah = Buildah(work)
    make_base(buildah, work)
    build(buildah, work, arguments.artifact.resolve())
    good = check(buildah, work, arguments.artifact)
    for image in (IMAGE, SERVICE):
        buildah("rmi", image)
    return 0 if good else 1


class Buildah:
    """``buildah`` with a store of its own, which scripts that it is given to find, too."""

    # No cached layers: in this kind of store each is a copy of everything.
    build_options = ("--layers=false", "--pull-never")

    def __init__(self, work: Path):
        configuration = work / "storage.conf"
        lines = ["[storage]", 'driver = "vfs"']
        lines += [f'graphroot = "{work / "store"}"', f'runroot = "{work / "run"}"', ""]
        configuration.write_text("\n".join(lines), encoding="utf-8")
        self.environment = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(configuration),
            "BUILDAH_ISOLATION": "chroot",
        }

    def __call__(self, *arguments: str) -> str:
        """Runs a command and returns what it printed; its errors go to ours."""
        done = subprocess.run(
            ["buildah", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return done.stdout.strip()

    def build(self, log: Path, *command: str) -> float:
        """Runs a command that builds; returns its seconds, or ends the program if it fails."""
        started = time.monotonic()
        with log.open("wb") as output:
            done = subprocess.run(
                command, env=self.environment, stdout=output, stderr=output, check=False
            )
        if done.returncode:
            sys.exit(f"the build failed; see {log}")
        return time.monotonic() - started

    def has(self, image: str) -> bool:
        """Whether the store has an image of this name."""
        names = json.loads(self("images", "--json"))
        return any(image in (one["names"] or []) for one in names)

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """A container of an image, and where its files are."""
        name = self("from", "--pull-never", image)
        try:
            yield name, Path(self("mount", name))
        finally:
            self("rm", name)


def make_base(buildah: Buildah, work: Path) -> None:
    """A Debian with Python and nothing else, as an image."""
    if buildah.has(BASE):
        return
    say("making the base (debootstrap; a few minutes)")
    folder = work / "base"
    shutil.rmtree(folder, ignore_errors=True)
    include = "--include=python3,ca-certificates"
    with (work / "debootstrap.log").open("wb") as log:
        subprocess.run(
            ["debootstrap", "--variant=minbase", include, "bookworm", str(folder)],
            stdout=log,
            check=True,
        )
    for cached in (folder / "var/cache/apt/archives").glob("*.deb"):
        cached.unlink()
    name = buildah("from", "scratch")
    buildah("add", "--quiet", name, str(folder), "/")
    buildah("commit", "--quiet", "--rm", name, BASE)
    shutil.rmtree(folder)


def build(buildah: Buildah, work: Path, artifact: Path) -> None:
    """The image with the artifact in it; packages are reached as pip here is set up."""
    say("building the image")
    secrets = work / "secrets"
    secrets.mkdir(mode=0o700, exist_ok=True)
    options = []
    bundle = os.environ.get("PIP_CERT") or pip_settings().get("global.cert")
    try:
        settings = {"timeout": "180"}
        if bundle:
            settings["cert"] = "/run/ca.pem"
            options += ["--secret", f"id=ca,src={bundle}"]
        for name in ("index-url", "extra-index-url", "trusted-host", "proxy"):
            value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
            value = value or pip_settings().get(f"global.{name}")
            # A folder of this machine is not there within the build.
            words = [word for word in (value or "").split() if not word.startswith("file:")]
            if words:
                settings[name] = " ".join(words)
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (secrets / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
        options += ["--secret", f"id=pip,src={secrets / 'pip.conf'}"]
        options += [
            "--build-arg",
            f"BUILD_PACKAGES={BUILD_PACKAGES}",
            "--build-arg",
            f"BASE={BASE}",
        ]
        service = buildah.build(
            work / "service.log",
            *("buildah", "build", "--format", "docker", *buildah.build_options, *options),
            *("--tag", SERVICE, str(ROOT)),
        )
        say(f"image of the service in {service:.0f} s")
        model = buildah.build(
            work / "model.log",
            *(str(ROOT / "ci/image.sh"), str(artifact), SERVICE, IMAGE, *buildah.build_options),
        )
        say(f"model added in {model:.1f} s")
    finally:
        shutil.rmtree(secrets)


def pip_settings() -> dict[str, str]:
    """The settings of pip on this machine, without those of single commands."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, check=True, text=True
    )
    pairs = (line.partition("=") for line in listed.stdout.splitlines())
    return {name: value.strip("'") for name, _, value in pairs}


def check(buildah: Buildah, work: Path, artifact: Path) -> bool:
    """Holds the image to its bars, and prints each."""
    results = Results()
    image = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    with buildah.container(BASE) as (_, base), buildah.container(IMAGE) as (name, root):
        size = (disk_bytes(root) - disk_bytes(base)) / 1e6
        model = disk_bytes(root / "model") / 1e6
        results.add(
            f"{size:.0f} MB above its base, {model:.0f} MB of them the model "
            f"(at most {MOST_MEGABYTES})",
            size <= MOST_MEGABYTES,
        )
        found = [one for one in FORBIDDEN if any(root.glob(f"opt/topiccore/lib/*/*/{one}"))]
        compilers = [one for one in ("gcc", "cc", "g++", "pip", "pip3") if which(root, one)]
        results.add(f"nothing for building or training: {found + compilers}", not found + compilers)
        with built(buildah, name, image, work) as built_server:
            results.add(
                f"buildah run, user {USER}: ready after {built_server.ready_seconds:.2f} s, "
                f"{built_server.says()}",
                built_server.only_user(),
            )
            results.add(*built_server.ending("buildah run, SIGTERM"))
        seconds, processor = [], []
        for start in range(STARTS):
            with running(root, image, work, f"topiccore-check-{os.getpid()}-{start}") as server:
                seconds.append(server.ready_seconds)
                processor.append(server.processor_seconds)
                if not start:
                    results.add(f"runc, read-only root: {server.says()}", server.only_user())
                    results.add(f"health check: code {server.health()}", server.health() == 0)
                    results.add("nothing can be written to its root", server.read_only())
                    results.add(*server.ending("runc, SIGTERM"))
        median = statistics.median(seconds)
        results.add(
            f"start to ready {median:.2f} s, median of {STARTS} "
            f"({min(seconds):.2f} to {max(seconds):.2f}; less than {MOST_SECONDS:g}), "
            f"{statistics.median(processor):.2f} s of processor time; {os.cpu_count()} processors, "
            f"load {os.getloadavg()[0]:.0f}",
            median < MOST_SECONDS,
        )
    image = json.loads(buildah("inspect", "--type", "image", SERVICE))["Docker"]["config"]
    mounts = [read_only(artifact, "/model")]
    with (
        buildah.container(SERVICE) as (_, root),
        running(root, image, work, f"topiccore-check-{os.getpid()}-mounted", mounts) as server,
    ):
        results.add(f"runc, the model mounted: {server.says()}", server.only_user())
    return results.good


class Results:
    """What was found, told as it is found."""

    def __init__(self) -> None:
        self.good = True

    def add(self, text: str, good: bool) -> None:
        """Prints a finding."""
        self.good = self.good and good
        print(f"{'ok  ' if good else 'BAD '} {text}", flush=True)


class Server:
    """The image's own command in a container, with the network of this machine."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path):
        self.process = process
        started = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                if self._get(8080, "/readyz")[0] == 200:
                    break
            if time.monotonic() - started > DEADLINE or process.poll() is not None:
                raise AssertionError(f"not ready:\n{log.read_text(errors='replace')}")
            time.sleep(0.005)
        self.ready_seconds = time.monotonic() - started
        status, body = self._get(8080, "/v1/topics?q=used+honda+civic+dallas")
        assert status == 200, body
        self.answer = json.loads(body)
        status, body = self._get(9090, "/metrics")
        assert status == 200, body
        self.metrics = body.count(b"# TYPE topiccore_")
        self._pids = self._processes()
        self.processor_seconds = sum(processor_seconds(pid) for pid in self._pids)

    @staticmethod
    def _get(port: int, path: str) -> tuple[int, bytes]:
        with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def _processes(self) -> list[int]:
        raise NotImplementedError

    def _terminate(self) -> None:
        raise NotImplementedError

    def says(self) -> str:
        """What it answered, and who it is."""
        topics = [topic["name"] for topic in self.answer["topics"]]
        return (
            f"/v1/topics answers {', '.join(topics)}; /metrics has {self.metrics} families; "
            f"{len(self._pids)} processes of user {self.users()}"
        )

    def users(self) -> list[int]:
        """The user ids that its processes have."""
        return sorted({Path(f"/proc/{pid}").stat().st_uid for pid in self._pids})

    def only_user(self) -> bool:
        """Whether the service and its workers all run as the user that was asked for."""
        return self.users() == [USER] and len(self._pids) > 1 and bool(self.answer["topics"])

    def ending(self, how: str) -> tuple[str, bool]:
        """Sends SIGTERM to its first process, as Kubernetes does; tells how it ended."""
        started = time.monotonic()
        self._terminate()
        code = self.process.wait(DEADLINE)
        seconds = time.monotonic() - started
        left = [pid for pid in self._pids if Path(f"/proc/{pid}").exists()]
        text = f"{how}: code {code} after {seconds:.1f} s, {len(left)} processes left"
        return text, code == 0 and not left


class Built(Server):
    """The service as ``buildah run`` starts it: in the image as it was built, nothing hardened."""

    def _processes(self) -> list[int]:
        return of_user()

    def _terminate(self) -> None:
        # buildah passes no signal on, so the first of the service's own processes gets it.
        (first,) = (pid for pid in self._pids if parent(pid) not in self._pids)
        os.kill(first, signal.SIGTERM)


class Restricted(Server):
    """The service as runc starts it: what a restricted pod gets."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, image: Any, log: Path):
        self._name = name
        self._image = image
        super().__init__(process, log)

    def _run(self, *command: str) -> int:
        return subprocess.run(
            ["runc", "exec", self._name, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode

    def health(self) -> int:
        """The exit code of the image's health check."""
        kind, *command = self._image["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self._run(*command)

    def read_only(self) -> bool:
        """Whether writing fails in every place of the root, and works in /tmp."""
        places = ("/", "/opt/topiccore", "/model", "/etc", "/var/tmp")
        refused = all(self._run("sh", "-c", f"echo > {place}/probe") for place in places)
        return refused and self._run("sh", "-c", "echo > /tmp/probe") == 0

    def _processes(self) -> list[int]:
        state = subprocess.run(
            ["runc", "state", self._name], capture_output=True, check=True, text=True
        )
        first = json.loads(state.stdout)["pid"]
        namespace = os.readlink(f"/proc/{first}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if os.readlink(entry / "ns/pid") == namespace:
                    found.append(int(entry.name))
        return found

    def _terminate(self) -> None:
        subprocess.run(["runc", "kill", self._name, "TERM"], check=True)


def of_user() -> list[int]:
    """The processes of the service on this machine that have the user id of the check."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # buildah's own process around the service has the user id, too.
            program = Path(os.readlink(entry / "exe")).name
            if entry.stat().st_uid == USER and program.startswith("python"):
                found.append(int(entry.name))
    return found


def parent(pid: int) -> int:
    """The process that started a process."""
    return int(_stat(pid)[1])


def processor_seconds(pid: int) -> float:
    """What a process has used until now, its children apart."""
    return (int(_stat(pid)[11]) + int(_stat(pid)[12])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    # After the name, which is in parentheses and may have any character.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextlib.contextmanager
def built(buildah: Buildah, container: str, image: Any, work: Path) -> Iterator[Built]:
    """Runs the image's command by ``buildah run``."""
    command = [*image["Entrypoint"], *(image.get("Cmd") or [])]
    options = ["--isolation", "chroot", "--user", f"{USER}:0"]
    log = work / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["buildah", "run", *options, container, "--", *command],
            env=buildah.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Built(process, log)
    finally:
        for pid in of_user():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(DEADLINE)


@contextlib.contextmanager
def running(
    root: Path, image: Any, work: Path, name: str, mounts: Sequence[dict[str, Any]] = ()
) -> Iterator[Restricted]:
    """Runs the image's command with no capability and a read-only root."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        bundle = Path(folder)
        config = specification(root, image)
        config["mounts"] += mounts
        (bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")
        log = bundle / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["runc", "run", "--bundle", folder, name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield Restricted(process, name, image, log)
        finally:
            if process.poll() is None:
                subprocess.run(["runc", "kill", name, "KILL"], check=False)
                process.send_signal(signal.SIGTERM)
                process.wait(DEADLINE)
            subprocess.run(
                ["runc", "delete", "--force", name], stderr=subprocess.DEVNULL, check=False
            )


def read_only(source: Path, destination: str) -> dict[str, Any]:
    """A folder of this machine, mounted in a container."""
    options = ["rbind", "ro", "nosuid", "nodev"]
    source = source.resolve()
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": options,
    }


def specification(root: Path, image: Any) -> dict[str, Any]:
    """The OCI runtime configuration: what a restricted pod gets."""

    def tmpfs(place: str, *options: str) -> dict[str, Any]:
        options = ("nosuid", "nodev", "mode=1777", "size=65536k", *options)
        return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": list(options)}

    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "process": {
            "user": {"uid": USER, "gid": 0},
            "args": [*image["Entrypoint"], *(image.get("Cmd") or [])],
            "env": image["Env"],
            "cwd": image["WorkingDir"] or "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "mode=755", "size=64k"],
            },
            tmpfs("/dev/shm", "noexec"),
            tmpfs("/tmp"),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }


def disk_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, each counted once."""
    done = subprocess.run(
        ["du", "--summarize", "--block-size=1", str(folder)],
        capture_output=True,
        check=True,
        text=True,
    )
    return int(done.stdout.split()[0])


def which(root: Path, program: str) -> bool:
    """Whether a root file system has a program."""
    places = ("usr/bin", "usr/local/bin", "opt/topiccore/bin")
    return any((root / place / program).exists() for place in places)


def say(text: str) -> None:
    """Tells what is done now."""
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
