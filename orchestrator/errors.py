"""Exit codes, and errors that a user can correct: one message with the nearest valid choice, no trace."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LISTED = 20


class ExitCode(IntEnum):
    """How a command ends."""

    DONE = 0
    FAILED = 1  # something is not done, or does not agree
    UNUSABLE = 2  # the spec, the data or the store cannot be used
    UNREACHABLE = 3  # the cluster cannot be reached, and nothing was changed
    STOPPED = 130  # as shells report Ctrl-C; running trials have checkpointed


class UserError(Exception):
    """An error that a user can correct; the message names the place, the cause and the next step."""

    exit_code = ExitCode.UNUSABLE


class SweepError(UserError):
    """A sweep cannot be found, is being run by another process, or cannot run on this machine."""


class ClusterError(UserError):
    """A cluster cannot be reached, or does not let this process in."""


class ClusterUnreachable(ClusterError):  # noqa: N818 (a state of the network, which says nothing of the sweep)
    """A cluster does not answer: the state of a sweep there is unknown, and it has not failed."""

    exit_code = ExitCode.UNREACHABLE


def as_user_error(error: Exception) -> UserError | None:
    """Return an error as one that a user can correct, or None where it is a defect of this program."""
    # Imported here because `--help` needs neither.
    from evaluation.records import RecordError
    from workers.data.dataset import DataError
    from workers.store.store import StoreError

    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UserError(f"no space is left for {error.filename or 'a file'}; free some, and run the command again")
    if isinstance(error, OSError) and error.filename and not isinstance(error, FileNotFoundError):
        return UserError(f"{error.filename} cannot be used: {error.strerror}; change that, and run the command again")
    return UserError(str(error)) if isinstance(error, (StoreError, DataError, RecordError)) else None


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice whose spelling is nearest to a word, or None if none is near.

    For dotted choices the last part alone may be near: `training.hidden` is near `architecture.hidden`.
    """
    import difflib  # for misspelt words alone

    listed = list(choices)
    whole = difflib.get_close_matches(word, listed, n=1, cutoff=0.75)
    last_parts = {choice.rsplit(".", maxsplit=1)[-1]: choice for choice in reversed(listed)}
    ends = difflib.get_close_matches(word.rsplit(".", maxsplit=1)[-1], last_parts, n=1)
    lower = {choice.lower(): choice for choice in reversed(listed)}
    caseless = difflib.get_close_matches(word.lower(), lower, n=1)
    found = [*whole, *(last_parts[end] for end in ends), *(lower[choice] for choice in caseless)]
    return found[0] if found else None


def hint(word: str, choices: Iterable[str]) -> str:
    """Return the advice after an unknown word: the nearest choice, or all of them if none is near."""
    listed = list(choices)
    near = nearest(word, listed)
    if near:
        return f"did you mean '{near}'?"
    return f"choose one of {', '.join(listed[:MOST_LISTED])}{', …' if len(listed) > MOST_LISTED else ''}"
