"""Which output each input goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batch import formats
from batch.errors import BatchError
from batch.formats import Format
from batch.inputs import Input
from batch.storage import Location, locate

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Job:
    """Inputs whose rows make one output, in order; ``output`` ``None`` is standard output."""

    inputs: tuple[Input, ...]
    output: Location | None
    relative: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs; ``folder`` is where their outputs are, ``None`` for one output in all."""

    jobs: tuple[Job, ...]
    folder: Location | None
    format: Format


def make_plan(inputs: Sequence[Input], output: str, ending: str | None) -> Plan:
    """One output in all for ``-`` and for a name with a known ending, else a folder.

    In a folder each input has its own file, at the same place below it.  ``ending`` names the
    format where the output's name does not.  Raises ``BatchError`` when two inputs would have the
    same output, or an output would be an input.
    """
    if output == STANDARD_OUTPUT:
        kind = formats.chosen(ending or "jsonl", output=True)
        return Plan((Job(tuple(inputs), None, "-"),), None, kind)
    place = locate(output)
    told = formats.of_name(output)
    folder = output.endswith("/") or place.is_folder()
    if told is None and not folder and formats.is_like_a_file(output):
        raise BatchError(
            f"{output}: its ending is no format of outputs; end the name with / for a folder"
        )
    if told is None or folder:
        ending = ending or "parquet"
        return _folder(inputs, place, formats.chosen(ending, output=True), ending.lower())
    if told.kind not in formats.OUTPUT_KINDS:
        raise BatchError(f"{output}: {told.kind} is no format of outputs")
    if ending is not None and formats.chosen(ending, output=True) != told:
        raise BatchError(f"{output}: its ending is not of the format {ending}")
    if place.identities() & identities_of(inputs):
        raise BatchError(f"{output} is an input too")
    return Plan((Job(tuple(inputs), place, output),), None, told)


def place_of_summary(name: str | None, plan: Plan, overwrite: bool) -> Location | None:
    """Where the summary goes, ``None`` for no name.

    Raises ``BatchError`` when that would replace an input, an output of the plan, what is no file,
    or, without ``overwrite``, anything.
    """
    if not name:
        return None
    place = locate(name)
    keys = place.identities()
    if keys & identities_of(one for job in plan.jobs for one in job.inputs):
        raise BatchError(f"{place} is an input too")
    outputs = [job.output for job in plan.jobs if job.output is not None]
    if any(keys & one.identities() for one in [*outputs, *filter(None, [plan.folder])]):
        raise BatchError(f"{place} is an output too")
    if place.exists() and not place.is_regular():
        raise BatchError(f"{place} is no regular file")
    if place.exists() and not overwrite:
        raise BatchError(f"{place}: exists already (--overwrite replaces it)")
    return place


def _folder(inputs: Sequence[Input], folder: Location, kind: Format, ending: str) -> Plan:
    if folder.exists() and not folder.is_folder():
        raise BatchError(f"{folder} is a file, and its ending tells no format")
    for one in inputs:
        # What a run writes must not be what the next one reads.
        root = one.folder
        if root is not None and folder.lies_in(root):
            raise BatchError(f"{folder} lies in the folder {root}, which is an input")
    taken = identities_of(inputs)
    jobs: dict[str, Job] = {}
    for one in inputs:
        relative = f"{formats.stem(one.relative)}.{ending}"
        if relative in jobs:
            [other] = jobs[relative].inputs
            raise BatchError(f"{other} and {one} would both become {folder.child(relative)}")
        output = folder.child(relative)
        if output.identities() & taken:
            raise BatchError(f"{output} is an input too")
        jobs[relative] = Job((one,), output, relative)
    return Plan(tuple(jobs.values()), folder, kind)


def identities_of(inputs: Iterable[Input]) -> set[object]:
    """Those of all files that are read."""
    places = (one.location for one in inputs)
    return {key for place in places if place is not None for key in place.identities()}
