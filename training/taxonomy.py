"""Reading a taxonomy file."""

from __future__ import annotations

from pathlib import Path

from topiccore.taxonomy import Taxonomy, TaxonomyLabel
from training.errors import DataError
from training.own_data import read_own_taxonomy
from training.tables import has_header, read_table

HEADER = ["code", "topic", "subtopic", "scope"]


def read_taxonomy(path: Path) -> Taxonomy:
    """A tab-separated file with the columns code, topic, subtopic, scope, or one of your own.

    A row without a subtopic is a topic; the rows of its subtopics carry its name and follow it.
    Other columns are those of ``read_own_taxonomy``.  Raises ``DataError`` that names the line.
    """
    if not has_header(path, HEADER):
        return read_own_taxonomy(path)
    labels = []
    topic_codes: dict[str, str] = {}
    for number, (code, topic, subtopic, scope) in read_table(path, HEADER):
        if not code or not topic:
            raise DataError(f"{path}:{number}: empty code or topic")
        if not subtopic:
            topic_codes[topic] = code
            labels.append(TaxonomyLabel(code, topic, None, scope))
        elif topic in topic_codes:
            labels.append(TaxonomyLabel(code, subtopic, topic_codes[topic], scope))
        else:
            raise DataError(f"{path}:{number}: the topic {topic!r} has no row before this one")
    try:
        return Taxonomy(labels)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
