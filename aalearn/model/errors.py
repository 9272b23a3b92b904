"""The one exception tree. What a person did wrong is told in one line and ends with exit code 2; what failed around
us, 3.
"""

from typing import ClassVar


class AalearnError(Exception):
    """Base of every error that aalearn raises on purpose; `str(error)` is one line fit for a person.

    The text must already be safe for a terminal (foreign bytes through `model.text.shown`).
    """

    exit_code: ClassVar[int] = 3


class UsageError(AalearnError):
    """A person asked for something that cannot be: wrong argument, unknown profile, unreadable or unfit file."""

    exit_code: ClassVar[int] = 2


class BadInput(UsageError):
    """A file is not what it should be (not a log, damaged archive, not a policy)."""


class StoreError(AalearnError):
    """The store can't be opened, read or written (locked, corrupt, newer schema, disk full); it is as it was before."""


class PolicyError(AalearnError):
    """apparmor_parser is missing or refused a text, or a binary policy can't be understood."""


class NotExpressible(AalearnError):
    """A foreign string has no spelling in the policy language at this place (source: facts of apparmor.d(5),
    measured).
    """
