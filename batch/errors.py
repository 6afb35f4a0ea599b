"""The error of batch scoring."""

from topiccore.errors import TopiccoreError


class BatchError(TopiccoreError):
    """Input that cannot be scored or output that cannot be written; the message names which."""
