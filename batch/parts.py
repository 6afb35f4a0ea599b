"""What there is to read of a plan, in order: parts of files, and where an output ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batch.block import Block
from batch.inputs import Input
from batch.outputs import Job
from batch.readers import ReadOptions, read_blocks


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a block of the plan; ``first`` is the place of the first of them in its file."""

    source: Input
    block: Block
    first: int

    def divided(self, done: int) -> tuple[Part, ...]:
        """The rows behind the first ones, in parts that will hardly have more labels than these."""
        rows = max(1, done * 3 // 4)
        return tuple(
            Part(self.source, self.block.slice(start, rows), self.first + start)
            for start in range(done, len(self.block.text), rows)
        )


@dataclass(frozen=True, slots=True)
class End:
    """A job's parts are all read: its output need not wait for what comes next."""

    job: Job


def parts_of(job: Job, options: ReadOptions) -> Iterator[Part]:
    """The blocks of all inputs of a job."""
    for source in job.inputs:
        first = 0
        for block in read_blocks(source, options):
            yield Part(source, block, first)
            first += len(block.text)
