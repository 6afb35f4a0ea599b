"""Scores files: what the command does, as a function."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from batch.alike import alike
from batch.counts import Counts
from batch.errors import BatchError
from batch.inputs import Input
from batch.journal import Journal, Marks, marks_of
from batch.leftovers import remove_leftovers
from batch.outputs import Job, Plan
from batch.parts import End, Part, parts_of
from batch.pipeline import in_order
from batch.progress import Progress
from batch.readers import ReadOptions
from batch.scoring import Scorer
from batch.storage import reason
from batch.unknown import UnknownTokens
from batch.writers import Renderer, Writer

LABELS = 1 << 18
"""So many labels at most are rendered in one piece, so that memory is bounded whatever is emitted.

Blocks have fewer, unless far more is emitted than with thresholds.
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to score the files of a plan."""

    read: ReadOptions
    result_column: str = "topics"
    threads: int = 1
    overwrite: bool = False
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """``counts`` of all rows, of which ``scored_now`` were not scored by an earlier run."""

    counts: Counts
    scored_now: int


@dataclass(frozen=True, slots=True)
class _Scored:
    """The first rows of a part, and what is left of it."""

    part: Part
    rendered: pa.RecordBatch | pa.Buffer
    counts: Counts
    rest: tuple[Part, ...]


def score_files(plan: Plan, scorer: Scorer, settings: Settings) -> Outcome:
    """Writes the outputs of a plan, each whole or not at all.

    A plan with a folder that was interrupted before goes on where it stopped.  Raises
    ``BatchError`` naming the file; what is finished by then stays.
    """
    journal = None
    if plan.folder is not None:
        journal = Journal(plan.folder, _fingerprint(plan, scorer, settings), settings.overwrite)
    may_replace = settings.overwrite or (journal is not None and journal.may_replace)
    total = Counts()
    todo = []
    for job in plan.jobs:
        done = journal.counts_of(job) if journal is not None else None
        if done is not None:
            total += done
            continue
        own = journal is not None and journal.is_own(job)
        if job.output is not None and not may_replace and not own and job.output.exists():
            raise BatchError(f"{job.output}: exists already (--overwrite replaces it)")
        todo.append(job)
    before = total.rows
    sizes = _sizes(todo)
    known = all(source.location is not None for source in sizes)
    progress = Progress(sum(sizes.values()) if known else None, shown=settings.progress)
    try:
        _score(todo, plan, scorer, settings, journal, total, progress, sizes)
    finally:
        progress.clear()
    if journal is not None:
        journal.close()
        remove_leftovers(plan)
    return Outcome(total, total.rows - before)


def _score(
    jobs: list[Job],
    plan: Plan,
    scorer: Scorer,
    settings: Settings,
    journal: Journal | None,
    total: Counts,
    progress: Progress,
    sizes: Mapping[Input, int],
) -> None:
    renderer = Renderer(scorer, plan.format.kind, settings.result_column)
    unknown = UnknownTokens(scorer.model)

    def work(part: Part | End) -> _Scored | End:
        if isinstance(part, End):
            return part
        try:
            emitted = scorer.emitted(part.block.text, most=LABELS)
            rows = emitted.counts.rows
            block = part.block if rows == len(part.block.text) else part.block.slice(0, rows)
            emitted.counts.not_text += block.not_text
            unknown.count(block.text, part.first, emitted)
            rendered = renderer.render(block.kept, emitted)
            return _Scored(part, rendered, emitted.counts, part.divided(rows))
        except BatchError as error:
            raise BatchError(f"{part.source}: {error}") from error
        except (pa.ArrowException, UnicodeError) as error:
            raise BatchError(
                f"{part.source}: rows from {part.first} cannot be scored: {reason(error)}"
            ) from error

    marks = {job.relative: _marks(job) for job in jobs}
    finished = rows = 0
    with in_order(_parts(jobs, plan, settings.read), work, settings.threads, _rest) as results:
        for job in jobs:
            counts = Counts()
            source: Input | None = None
            with _sink(job) as sink:
                with Writer(sink, plan.format, settings.result_column) as writer:
                    for scored in results:
                        if isinstance(scored, End):
                            break
                        if source is not None and scored.part.source is not source:
                            finished += sizes[source]
                        source = scored.part.source
                        _write(writer, scored)
                        counts += scored.counts
                        rows += scored.counts.rows
                        progress.tell(rows, finished + scored.part.block.consumed)
                if journal is not None:
                    journal.announce(job)
            if source is not None:
                finished += sizes[source]
            total += counts
            if journal is not None:
                journal.record(job, marks[job.relative], counts)


def _rest(scored: _Scored | End) -> tuple[Part, ...]:
    return scored.rest if isinstance(scored, _Scored) else ()


def _write(writer: Writer, scored: _Scored) -> None:
    try:
        writer.write(scored.part.block.kept.schema, scored.rendered)
    except BatchError as error:
        raise BatchError(f"{scored.part.source}: {error}") from error


def _parts(jobs: list[Job], plan: Plan, options: ReadOptions) -> Iterator[Part | End]:
    for job in jobs:
        typed = plan.format.kind == "parquet" and len(job.inputs) > 1
        yield from alike(parts_of(job, options), typed=typed)
        yield End(job)


@contextmanager
def _sink(job: Job) -> Iterator[BinaryIO]:
    if job.output is not None:
        with job.output.create() as stream:
            yield stream
        return
    with _standard_output() as stream:
        yield stream


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    if sys.stdout is None:
        raise BatchError("cannot write standard output: it is closed")
    stream: Any = sys.stdout.buffer
    # Unbuffered standard output is a raw file, whose write may take a part and say so.
    raw = stream if isinstance(stream, io.RawIOBase) else None
    if raw is not None:
        stream = io.BufferedWriter(raw)
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BatchError(f"cannot write standard output: {reason(error)}") from error
    finally:
        if raw is not None:
            with contextlib.suppress(OSError):
                stream.detach()


def _fingerprint(plan: Plan, scorer: Scorer, settings: Settings) -> Mapping[str, Any]:
    """All that shapes an output besides its input."""
    return {
        "model": scorer.model.id,
        "options": asdict(scorer.options),
        "read": asdict(settings.read),
        "result": settings.result_column,
        "format": asdict(plan.format),
    }


def _marks(job: Job) -> Marks:
    try:
        return marks_of(job)
    except OSError as error:
        raise BatchError(f"cannot read {job.inputs[0]}: {reason(error)}") from error


def _sizes(jobs: list[Job]) -> dict[Input, int]:
    return {source: _size(source) for job in jobs for source in job.inputs}


def _size(source: Input) -> int:
    try:
        return 0 if source.location is None else source.location.size()
    except OSError as error:
        raise BatchError(f"cannot read {source}: {reason(error)}") from error
