"""Errors of a deployment on one machine."""

from topiccore import TopiccoreError


class LocalError(TopiccoreError):
    """A part of the deployment is missing or does not do what it should."""
