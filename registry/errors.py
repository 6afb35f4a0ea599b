"""Errors of the registry; each message names the folder, file or version at fault."""

from topiccore.errors import TopiccoreError


class RegistryError(TopiccoreError):
    """The registry, a version or a channel is not there, or not what it should be."""

    exit_code = 1


class ConflictError(RegistryError):
    """Someone else has changed a channel, or holds the lock; nothing was changed."""

    exit_code = 3


class GateError(RegistryError):
    """A version did not pass its gates; the channel was not changed."""

    exit_code = 4
