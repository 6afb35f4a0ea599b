"""Unfinished outputs that a killed run left in the folder of a plan, of inputs since gone."""

from __future__ import annotations

import contextlib
import os

from batch import formats
from batch.outputs import Plan
from batch.storage import PARTIAL, remove_abandoned


def remove_leftovers(plan: Plan) -> None:
    """Removes those beside the plan's outputs, but for what another run is writing."""
    places = [job.output for job in plan.jobs if job.output is not None and job.output.local]
    for folder in {os.path.dirname(place.path) for place in places}:
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for path in [entry.path for entry in found if _is_leftover(entry.name, plan)]:
                remove_abandoned(path)


def _is_leftover(name: str, plan: Plan) -> bool:
    hidden = name.startswith(".") and name.endswith(PARTIAL)
    return hidden and formats.of_name(name[1:].removesuffix(PARTIAL)) == plan.format
