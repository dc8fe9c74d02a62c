"""Errors that a user can mend: one message, no trace, exit code 2."""

from __future__ import annotations

from workers.data.dataset import DataError
from workers.store import StoreError


class UserError(Exception):
    """Something a user can mend; the message names the place, the cause and the next step."""


class SweepError(UserError):
    """A sweep cannot be found, is being run by another process, or cannot run on this machine."""


class ClusterError(UserError):
    """A cluster cannot be reached, or does not let this process in."""


def as_user_error(error: Exception) -> UserError | None:
    """Return an error as one that a user can mend, or None where it is a defect of this program."""
    if isinstance(error, UserError):
        return error
    return UserError(str(error)) if isinstance(error, (StoreError, DataError)) else None
