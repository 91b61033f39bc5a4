"""The one exception that is a message to the user, and the end of such messages."""

import difflib
from collections.abc import Iterable
from typing import Any


class LotteryError(ValueError):
    """Bad input. Its text is one sentence: what was wrong, and what would be right.

    The command line prints it and exits with 1. Its ``ticket`` is what a search has found and refuses, if it has.

    >>> import lottery_lib
    >>> lottery_lib.load("cifar11")
    Traceback (most recent call last):
    lottery_lib.errors.LotteryError: unknown data set 'cifar11'; did you mean 'cifar10'?
    """

    ticket: Any = None


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or else all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
