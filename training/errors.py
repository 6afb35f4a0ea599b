"""Errors of the training commands; each message names the file, line or setting at fault."""

from topiccore.errors import TopiccoreError


class TrainingError(TopiccoreError):
    """Training cannot go on with what it was given."""


class CollectionError(TrainingError):
    """A query collection is missing, cannot be fetched or is not what it should be."""


class DataError(TrainingError):
    """A taxonomy or labels file is not what it should be."""


class ConfigError(TrainingError):
    """A setting is missing, unknown or out of range."""
