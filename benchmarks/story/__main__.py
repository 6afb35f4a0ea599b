"""``python -m benchmarks.story``: a version comes, is promoted and goes, under constant load."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load.generator import Found, Generator, GeneratorError, Load
from benchmarks.load.limit import limited
from benchmarks.load.requests import Requests, write_requests
from benchmarks.story import variants
from benchmarks.story.timeline import Tally, Timeline, read_counts
from benchmarks.story.transcript import Entry, Transcript, UnexpectedError
from benchmarks.table import table
from registry import layout
from tools.local.errors import LocalError
from tools.local.proxy import SERVERS
from tools.local.site import Site
from topiccore import TopiccoreError, load

RELEASE_SECONDS = 120.0
"""From a finished artifact to traffic on the canary, at most."""
PERCENT = 10
SETTLE_SECONDS = 1.0
WAIT_SECONDS = 60.0
LATENCY = "--latency-ratio 2 --limits-reason 'the load has one of two cores'"
"""A ratio of times says less than usual."""


class Story:
    """What happens, in order, to a site under load."""

    def __init__(self, folder: Path, first: Path, second: Path, chosen: argparse.Namespace):
        self.folder = folder
        self.first, self.second = first, second
        self.v1, self.v2 = load(first).id, load(second).id
        self.pause = chosen.pause
        self.container = chosen.container
        self.transcript = Transcript({"TOPICCORE_REGISTRY": str(folder / "registry")})
        self.timeline = Timeline()
        self.released: Entry | None = None
        self.tried_again = 0
        """Requests that the proxy had to send twice."""
        self._site = f"--site {folder / 'site'}"

    def run(self, command: str, code: int = 0) -> Entry:
        """Runs a command of the story."""
        return self.transcript.run(command, code)

    def local(self, action: str) -> Entry:
        """Runs ``python -m tools.local``."""
        return self.run(f"python -m tools.local {action} {self._site}")

    def start(self) -> Site:
        """The first version becomes what all requests go to."""
        self.run(f"topiccore registry push {self.first} --note 'the first'")
        self.run(f"topiccore registry promote {self.v1[:12]} --reason 'the first'")
        self.local("up --container" if self.container else "up")
        return Site(self.folder / "site")

    def tell(self, site: Site) -> None:
        """The story under load."""
        v1, v2, phase = {self.v1}, {self.v2}, self.timeline.phase
        with phase("the first version serves", v1):
            time.sleep(self.pause)
        with phase("the second is released", v1 | v2):
            self.released = self.release(self.second, "other thresholds")
            time.sleep(SETTLE_SECONDS)
        with phase(f"canary with {PERCENT} %", v1 | v2, shared=True):
            time.sleep(self.pause)
        with phase("promotion", v1 | v2):
            self.local("status")
            self.run(
                f"topiccore registry promote canary --canary-url {site.stable_url}"
                f" --max-differing 0.05 --min-compared 1000 {LATENCY}"
                " --reason 'as good, and answers more'"
            )
            self.settle(site, self.v2)
            self.local("share 0")
            time.sleep(SETTLE_SECONDS)
        with phase("the second version serves", v2):
            time.sleep(self.pause)
        with phase("a corrupt version", v2):
            self.bad_versions(site)
        with phase("a worse version", v2):
            worse = self.folder / "worse"
            variants.shuffled(self.second, worse)
            self.release(worse, "shuffled weights", code=4)
            self.nothing_but(site, self.v2)
        with phase("rollback", v1 | v2):
            self.run("topiccore registry rollback --reason 'complaints about News'")
            self.settle(site, self.v1)
            time.sleep(SETTLE_SECONDS)
        with phase("the first version serves again", v1):
            self.run("topiccore registry show current")
            self.local("status")
            time.sleep(self.pause)
        self.timeline.end()

    def release(self, artifact: Path, note: str, code: int = 0) -> Entry:
        """The one command from an artifact to a share of the requests."""
        return self.run(
            f"python -m tools.release {artifact} --percent {PERCENT} --note '{note}'"
            f" {LATENCY} {self._site}",
            code,
        )

    def bad_versions(self, site: Site) -> None:
        """One that is corrupt before it is pushed, and one that becomes so in the registry."""
        broken, rotten = self.folder / "broken", self.folder / "rotten"
        variants.corrupt(self.second, broken)
        self.release(broken, "a bit is wrong", code=1)
        identity = variants.other_thresholds(self.second, rotten, 0.01)
        self.run(f"topiccore registry push {rotten} --note 'sound when it was pushed'")
        variants.flip_bit(site.registry.version_path(identity) / "bias.npy")
        self.run(f"topiccore registry promote {identity[:12]}", code=4)
        self.nothing_but(site, self.v2)

    def nothing_but(self, site: Site, identity: str) -> None:
        """Holds the site to serving one version and comparing it with none that is bad."""
        if site.proxy.weights() != {"stable": 100, "canary": 0}:
            raise UnexpectedError("a canary that was refused has requests")
        if site.registry.current(layout.CURRENT) != identity:
            raise UnexpectedError("a version that was refused is current")

    def settle(self, site: Site, identity: str) -> None:
        """Waits until every worker of stable answers with a version."""
        deadline = time.monotonic() + WAIT_SECONDS
        seen = 0
        while seen < 50:
            model = site.ask("/v1/model")["id"]
            seen = seen + 1 if model == identity else 0
            if time.monotonic() > deadline:
                raise UnexpectedError(f"stable still answers with {model[:12]}")
            time.sleep(0.02)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when no request failed and every answer was of a version that should serve."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    folder = chosen.out
    if folder.exists():
        parser.error(f"{folder} is there already; remove it or choose another --out")
    try:
        load(chosen.model)
        if chosen.second:
            load(chosen.second)
    except TopiccoreError as error:
        parser.error(str(error))
    folder.mkdir(parents=True)
    second = chosen.second or folder / "second"
    if not chosen.second:
        variants.other_thresholds(chosen.model, second)
    with limited(chosen.limit), tempfile.TemporaryDirectory(prefix="topiccore-story-") as name:
        requests = write_requests(Path(name))
        story = Story(folder, chosen.model, second, chosen)
        counts = Path(name) / "counts"
        try:
            found = _under_load(story, requests, counts, chosen)
        except (UnexpectedError, GeneratorError, TopiccoreError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            (folder / "transcript.md").write_text(story.transcript.markdown(), encoding="utf-8")
        tallies = story.timeline.tallies(read_counts(counts), found.errors["unfinished"])
    names = {story.v1: "first", story.v2: "second"}
    print(summary(tallies, names, found))
    problems = verdict(tallies, found, names)
    if story.released and story.released.seconds > RELEASE_SECONDS:
        problems.append(f"release took {story.released.seconds:.0f} s")
    if story.released:
        print(f"from artifact to traffic on the canary: {story.released.seconds:.1f} s")
    print(f"requests that the proxy had to send twice: {story.tried_again}")
    for problem in problems:
        print(f"BAD  {problem}")
    print("the story holds" if not problems else "the story does not hold")
    return 1 if problems else 0


def _under_load(
    story: Story, requests: Requests, counts: Path, chosen: argparse.Namespace
) -> Found:
    expect = [requests.answers(one) for one in (story.first, story.second)]
    try:
        site = story.start()
        wanted = Load(
            requests.urls,
            rate=chosen.rate,
            # Without end: the story decides.
            seconds=24 * 3600.0,
            warm_up=0.0,
            expect=expect,
            id_header="x-topiccore-model",
            counts=counts,
            progress=20.0,
        )
        with Generator(wanted, int(site.url.rsplit(":", 1)[1])) as generator:
            story.tell(site)
            rows = site.proxy.statistics()
            again = (int(rows[x][name] or 0) for x in SERVERS for name in ("wretr", "wredis"))
            story.tried_again = sum(again)
            if not generator.running:
                raise UnexpectedError("the load ended early")
            return generator.stop()
    finally:
        try:
            Site(story.folder / "site").stop()
        except LocalError as error:
            print(f"error: {error}", file=sys.stderr)


def summary(tallies: Sequence[Tally], names: dict[str, str], found: Found) -> str:
    """The phases with their counts, and what the whole load was like."""
    begin = tallies[0].phase.start
    rows = []
    for one in tallies:
        per_second = one.answered / (one.phase.end - one.phase.start)
        counts = [f"{one.models.get(model, 0):,}" for model in names]
        others = sum(count for model, count in one.models.items() if model not in names)
        rows.append(
            [
                f"{one.phase.start - begin:.1f}-{one.phase.end - begin:.1f}",
                one.phase.name,
                " or ".join(names[model] for model in names if model in one.phase.allowed),
                *counts,
                f"{others}",
                f"{one.failed}",
                f"{per_second:,.0f}",
            ]
        )
    titles = ["seconds", "phase", "may answer", *names.values(), "other", "failed", "per s"]
    ms = {name: found.latency_us[name] / 1000 for name in ("p50", "p99", "p99.9", "max")}
    told = ", ".join(f"{name} {value:.1f} ms" for name, value in ms.items())
    versions = ", ".join(f"{name} {model[:12]}" for model, name in names.items())
    return "\n\n".join(
        [
            table(titles, rows),
            f"{versions}; {found.answered:,} answers, {found.right:,} right; {told}",
        ]
    )


def verdict(tallies: Sequence[Tally], found: Found, names: dict[str, str]) -> list[str]:
    """What was not as it should be."""
    problems = [problem for one in tallies for problem in one.problems()]
    # What was under way when the load was stopped has no answer.
    if failed := found.failed - found.errors["unfinished"]:
        problems.append(f"{failed} of {found.issued} requests failed: {found.errors_told()}")
    if found.right != found.answered:
        problems.append(f"{found.answered - found.right} answers were wrong")
    if set(found.models) != set(names):
        problems.append(f"answered by {', '.join(x[:12] for x in found.models)}")
    return problems


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.story", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/artifact"), metavar="DIR")
    parser.add_argument(
        "--second", type=Path, metavar="DIR", help="default: --model with other thresholds"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/story"), metavar="DIR")
    parser.add_argument("--rate", type=float, default=2000.0, help="requests per second")
    parser.add_argument("--pause", type=float, default=10.0, help="seconds of each quiet phase")
    parser.add_argument(
        "--container", action="store_true", help="services in containers (buildah, runc; as root)"
    )
    parser.add_argument(
        "--limit", type=float, default=20.0, help="minutes after which all is stopped"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
