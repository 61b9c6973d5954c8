"""Errors that a user can act on."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple


class Fault(NamedTuple):
    """One thing wrong with a config: where, and what."""

    file: str
    field: str
    message: str

    def __str__(self):
        where = f"{self.file}: {self.field}" if self.field else self.file
        return " ".join(f"config error: {where}: {self.message}".splitlines())


class ConfigError(Exception):
    """A config cannot be run; `faults` lists everything found, one line each."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(map(str, self.faults)))


class BackendError(Exception):
    """The installed XLA computes wrong numbers; the message names the remedy."""


class ResumeError(Exception):
    """A run directory does not fit what it was asked to continue."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Ends an error message with the nearest known name, or with nothing.

    Args:
        word: what was written.
        known: the names that would have been right.

    Returns:
        `"; did you mean 'x'?"` or an empty string.
    """
    close = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
