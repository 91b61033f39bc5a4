"""The one exception that is a message to the user, how such messages end, and numbers that are refused.

What no computation can hold is refused before one begins.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

LEAST, MOST = 1e-30, 1e30  # the size of a number other than 0, within float32
RIGHT = {bool: "True or False", float: "a number", int: "a whole number"}  # what a field must be
SEEDS = 2**63  # so many there are; a seed and a small number are one of PyTorch's seeds too


class LotteryError(ValueError):
    """Bad input, told in one sentence: what was wrong, and what would be right.

    The command line prints it and exits with 1. Its ``ticket`` is what a search has found and refuses, else None.

    >>> import lottery_lib
    >>> lottery_lib.load("mnis")
    Traceback (most recent call last):
    lottery_lib.errors.LotteryError: unknown data set 'mnis'; did you mean 'mnist'?
    """

    ticket: Any = None


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or else all of them, a set's in order."""
    known = sorted(known) if isinstance(known, (set, frozenset)) else list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def settle(config: Any) -> None:
    """Make the numbers in a dataclass Python's own, which can be written to any file, and refuse those beyond range.

    Raises:
        LotteryError: what must be True or False is neither; what must be a number is none, not whole where it must be,
            not finite, or too large or too small for float32; or a field ``"seed"`` is no valid one.
    """
    for item in fields(config):
        value = plain(getattr(config, item.name))
        if item.name == "seed":
            value = seed(value)
        for number in value if isinstance(value, tuple) else (value,):
            _require(item.name, number)
        if right := _misfit(value, item.type):
            raise LotteryError(f"{item.name} = {value!r}: must be {right}")
        object.__setattr__(config, item.name, value)


def hold(config: Any, rules: Mapping[str, tuple[bool, str]]) -> None:
    """``rules``: of each field whether it is in its range, and what that is; LotteryError for the first that is not."""
    for name, (holds, rule) in rules.items():
        if not holds:
            raise LotteryError(f"{name} = {getattr(config, name)!r}: must be {rule}")


def plain(value: Any) -> Any:
    """A number of NumPy's or PyTorch's as Python's, in a tuple too; anything else as it is."""
    if type(value) is tuple:
        return tuple(map(plain, value))
    return value.item() if getattr(value, "ndim", None) == 0 else value


def seed(value: Any) -> int:
    """The seed, if generators take it; LotteryError otherwise."""
    try:
        if 0 <= value < SEEDS and int(value) == value:
            return int(value)
    except (TypeError, ValueError, RuntimeError):  # the latter two of arrays and tensors of several numbers
        pass
    raise LotteryError(f"seed = {value!r}: must be a whole number, from 0 to 2^63 - 1")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value has a type: int, float (finite or whole), bool (no number here), str, None, Literal, list, tuple,
    dict, or a union of these. What lists and tuples hold is looked at, where their type tells it."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in args)
    if kind in (list, tuple) or origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        args = args[:1] * len(value) if origin is list or Ellipsis in args else args
        return not origin or (len(args) == len(value) and all(map(fits, value, args)))
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return value in args if origin is Literal else type(value) is kind


def _misfit(value: Any, kind: Any) -> str | None:
    """What a field must be whose value does not fit, if that is a number or a flag; None if all is well."""
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    right = next((said for each, said in RIGHT.items() if each in kinds), None)
    return right if right and not fits(value, kind) else None


def _require(name: str, number: Any) -> None:
    if isinstance(number, float) and not math.isfinite(number):
        raise LotteryError(f"{name} = {number!r}: must be a finite number")
    elif isinstance(number, float) and number and not LEAST <= abs(number) <= MOST:
        raise LotteryError(f"{name} = {number!r}: must be 0, or of a size from {LEAST:g} to {MOST:g}")
    elif isinstance(number, int) and abs(number) >= SEEDS:
        raise LotteryError(f"{name} = {number!r}: must be below 2^63")


def require(name: str, value: Any, kind: type, right: str) -> None:
    """LotteryError if a value is of another type than this, ``right`` being what it should be."""
    if not isinstance(value, kind):
        raise LotteryError(f"{name} is of type {type(value).__name__}; must be {right}")
