"""The errors topiccore raises for input it cannot use; each message names the place."""


class TopiccoreError(Exception):
    """Base of all errors that topiccore raises on purpose."""


class ArtifactError(TopiccoreError):
    """An artifact is missing, truncated, edited, foreign or of another format."""


class QueryTypeError(TopiccoreError, TypeError):
    """A query is neither ``str`` nor UTF-8 ``bytes``."""


class QueryTooLongError(TopiccoreError, ValueError):
    """A query is longer than ``topiccore.MAX_QUERY_BYTES`` bytes of UTF-8."""
