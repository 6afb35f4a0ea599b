"""What befalls a server while it answers: killed workers, new artifacts, a full disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

from benchmarks.load import processes
from benchmarks.load.generator import Found, Generator
from benchmarks.load.servers import Running
from benchmarks.load.trial import (
    RECOVERY_SECONDS,
    Trial,
    Verdict,
    alive,
    errors_told,
    harmless,
    variant,
)
from topiccore import load as load_model

KILLS = 3
RELOAD_SECONDS = 10.0
"""A new artifact must be live in every worker by then."""
LOG_DISK = "64k"


def killed_workers(trial: Trial) -> list[Verdict]:
    """``kill -9`` of one worker after the other, under load."""
    test = "kill -9 of workers"
    with trial.running() as server:
        load = trial.checked_load(server)
        held = kills = 0
        back = True
        with Generator(load, server.port) as generator:
            time.sleep(load.warm_up + 1)
            for _ in range(KILLS):
                workers = server.workers()
                if not workers:
                    back = False
                    break
                # A connection has at most one request under way: that many may be lost.
                held += processes.connections(workers[0], server.port)
                os.kill(workers[0], signal.SIGKILL)
                kills += 1
                back = back and _restored(server, workers[0], len(workers))
                time.sleep(1)
            found = generator.result()
        lost = sum(found.errors[name] for name in ("reset", "closed", "timeout"))
        others = found.failed - lost
        return [
            Verdict(
                test,
                "at most the requests that the workers held are lost, no answer is wrong",
                f"{kills} killed, which held {held} connections; {found.right} right, "
                f"errors: {errors_told(found)}",
                lost <= held and others == 0 and found.right > 0,
            ),
            Verdict(
                test,
                f"each is back within {RECOVERY_SECONDS:g} s",
                "all are" if back else "not all are",
                back,
            ),
            alive(test, server, server.workers()),
        ]


def reloads(trial: Trial) -> list[Verdict]:
    """A new artifact again and again, under load: the link that the service follows is replaced."""
    test = f"{trial.reloads} reloads"
    link = trial.folder / "current"
    models = (trial.artifact, _other(trial))
    _point(link, models[0])
    with trial.running(link) as server:
        load = replace(trial.checked_load(server, *models), seconds=max(trial.seconds, 1))
        pause = load.seconds / (trial.reloads + 1)
        with Generator(load, server.port) as generator:
            time.sleep(load.warm_up + pause / 2)
            for number in range(trial.reloads):
                _point(link, models[(number + 1) % 2])
                _call(server, trial)
                time.sleep(pause)
            found = generator.result()
        last = models[(trial.reloads + 1) % 2]
        _point(link, last)
        _call(server, trial)
        wanted = _id(last)
        live = _live(server, wanted)
        return [
            Verdict(
                test,
                "no failed request, every answer from one artifact and right for it",
                f"{found.right} right, errors: {errors_told(found)}",
                harmless(found),
            ),
            Verdict(
                test,
                "both artifacts answered",
                f"answers by artifact: {_counts(found)}",
                len(found.models) == 2,
            ),
            Verdict(
                test,
                f"an artifact is live in every worker within {RELOAD_SECONDS:g} s",
                "it is" if live else "it is not",
                live,
            ),
            alive(test, server, server.workers()),
        ]


def broken_artifact(trial: Trial) -> list[Verdict]:
    """An artifact of which a file was cut short takes the place of a good one."""
    test = "broken artifact"
    link = trial.folder / "current-or-broken"
    broken = trial.folder / "broken"
    shutil.copytree(trial.artifact, broken)
    largest = max(broken.iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    _point(link, trial.artifact)
    with trial.running(link) as server:
        workers = server.workers()
        load = trial.checked_load(server)
        with Generator(load, server.port) as generator:
            time.sleep(load.warm_up + load.seconds / 3)
            _point(link, broken)
            _call(server, trial)
            found = generator.result()
        return [
            Verdict(
                test,
                "it is refused: no failed request, all answers from the old one",
                f"{found.right} right, errors: {errors_told(found)}",
                harmless(found),
            ),
            alive(test, server, workers),
        ]


def full_disk(trial: Trial) -> list[Verdict]:
    """The disk that the log is written to fills up under load."""
    test = "full disk"
    disk = trial.folder / "disk"
    disk.mkdir()
    prefix = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    script = (
        f'mount -t tmpfs -o size={LOG_DISK} tmpfs "$0" && exec "$@" >"$0/server.log" 2>&1',
        str(disk),
    )
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        # Where no file system may be mounted, a device that is always full has to do.
        prefix, script = (), ('exec "$@" >/dev/full 2>&1', "sh")
    logging = "--log-sample 1" if _knows(trial, "--log-sample") else ""
    with trial.running(extra=logging, prefix=(*prefix, "sh", "-c", *script)) as server:
        workers = server.workers()
        found = _run(server, trial)
        # Through the server's own view: the disk is mounted for it alone.
        log = Path(f"/proc/{server.process.pid}/root") / disk.relative_to("/") / "server.log"
        left = "a device that is always full"
        full = True
        if log.exists():
            status = os.statvfs(log)
            left = f"{status.f_bavail * status.f_frsize} bytes left"
            if full := status.f_bavail == 0:
                left = "no space left"
        return [
            Verdict(
                test,
                "the disk was full, no failed request",
                f"{left}; {found.right} right, errors: {errors_told(found)}",
                harmless(found) and (full or not logging),
            ),
            alive(test, server, workers),
        ]


def _run(server: Running, trial: Trial) -> Found:
    with Generator(trial.checked_load(server), server.port) as generator:
        return generator.result()


def _knows(trial: Trial, option: str) -> bool:
    words = trial.server.words(model=trial.artifact, port=1, workers=1, extra="--help")
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return option in shown.stdout


def _other(trial: Trial) -> Path:
    path = trial.folder / "variant"
    return path if path.exists() else variant(trial.artifact, path)


def _point(link: Path, target: Path) -> None:
    partial = link.with_name(f".{link.name}.partial")
    partial.symlink_to(target.resolve())
    os.replace(partial, link)


def _call(server: Running, trial: Trial) -> None:
    if trial.reload_signal is not None:
        server.process.send_signal(trial.reload_signal)


def _id(model: Path) -> str:
    return load_model(model).id


def _live(server: Running, wanted: str) -> bool:
    # New connections go to any worker: twenty in a row are from all of them.
    deadline = time.monotonic() + RELOAD_SECONDS
    row = 0
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, HTTPException):
            row = row + 1 if wanted.encode() in server.get("/v1/model")[1] else 0
        if row == 20:
            return True
        time.sleep(0.02)
    return False


def _restored(server: Running, killed: int, count: int) -> bool:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        workers = server.workers()
        if killed not in workers and len(workers) == count:
            return server.wait_until_ready(RECOVERY_SECONDS)
        time.sleep(0.1)
    return False


def _counts(found: Found) -> str:
    return ", ".join(f"{model[:12]} {count}" for model, count in found.models.items()) or "none"
