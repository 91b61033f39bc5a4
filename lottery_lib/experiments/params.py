"""NAME=VALUE texts, checked against typed fields before anything runs."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lottery_lib.errors import LotteryError, fits, hint

Config = TypeVar("Config")
WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", NoneType: "none"}
BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse(pairs: Iterable[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values that ``NAME=VALUE`` texts give to typed ``fields`` (name -> type); only the names given are returned.

    Types: int, float (finite), str, bool, Literal[...], list[X], tuple[X, ...], tuple[X, Y], and unions such as
    ``X | None``; lists are written ``3,8`` or ``[3, 8]``.

    Raises:
        LotteryError: no '=', an unknown name, a name given twice, a value that does not fit the type.
    """
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name, text = name.strip(), text.strip()
        if not (name and equals):
            raise LotteryError(f"parameter {pair!r} must be written as NAME=VALUE")
        if name not in fields:
            raise LotteryError(f"unknown parameter {name!r}{hint(name, fields)}")
        if name in values:
            raise LotteryError(f"parameter {name!r} is given twice; give it once")
        try:
            values[name] = _convert(text, fields[name])
        except ValueError:
            raise LotteryError(f"{name} = {text!r}: must be {expected(fields[name])}") from None
    return values


def from_pairs(config_class: type[Config], pairs: Iterable[str]) -> Config:
    """An instance of a dataclass, its defaults overridden by ``NAME=VALUE`` texts.

    Raises:
        LotteryError: as ``parse`` raises it, or the dataclass itself when it checks its ranges.
    """
    return config_class(**parse(pairs, field_types(config_class)))


@cache  # a grid asks thousands of times
def field_types(config_class: type) -> dict[str, Any]:
    """Name -> type of the fields that a dataclass can be built from."""
    types = get_type_hints(config_class)
    return {field.name: types[field.name] for field in dataclasses.fields(config_class) if field.init}


def described(config_class: type) -> list[tuple[str, str, str, str]]:
    """Of each field: its name, what a value must be, its default, and what it is, where it is annotated with that."""
    types = get_type_hints(config_class, include_extras=True)
    rows = []
    for item in dataclasses.fields(config_class):
        kind, *notes = get_args(types[item.name]) if get_origin(types[item.name]) is Annotated else [types[item.name]]
        rows.append((item.name, expected(kind), spelt(item.default), *notes[:1]))
    return rows


def spelt(value: Any) -> str:
    """``value`` as it is written on the command line."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(spelt, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def misfit(value: Any, kind: Any, place: str = "it") -> str | None:
    """Where data read from a file do not have their ``kind``: a type (``errors.fits``), a list's one kind, or a
    dict's kinds by name, which may hold more. None if they do."""
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return f"{place} is no dict"
        misfits = (
            misfit(value[key], each, key) if key in value else f"its {key} is missing" for key, each in kind.items()
        )
        return next(filter(None, misfits), None)
    if isinstance(kind, list):
        if not isinstance(value, list):
            return f"{place} is no list"
        return next(filter(None, (misfit(each, kind[0], place) for each in value)), None)
    return None if fits(value, kind) else f"its {place} is {value!r}"


def _convert(text: str, kind: Any) -> Any:
    """``text`` read as a value of type ``kind``; ValueError if it spells none."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is str:
        return text
    if kind is int:
        return int(text)
    if kind is float:
        if not math.isfinite(number := float(text)):
            raise ValueError
        return number
    if kind in (bool, NoneType) or origin is Literal:
        spellings = BOOLS if kind is bool else {"none": None} if kind is NoneType else {str(arg): arg for arg in args}
        if (spelt := text if origin is Literal else text.lower()) not in spellings:
            raise ValueError
        return spellings[spelt]
    if origin in (Union, UnionType):
        for option in sorted(args, key=lambda arg: arg is not NoneType):  # `str | None` reads 'none' as None
            try:
                return _convert(text, option)
            except ValueError:
                pass
        raise ValueError
    if origin in (list, tuple):
        if text[:1] + text[-1:] in ("[]", "()"):
            text = text[1:-1]
        items = text.strip().removesuffix(",").split(",") if text.strip() else []
        if origin is list or args[-1] is Ellipsis:
            args = args[:1] * len(items)
        return origin(_convert(item.strip(), arg) for item, arg in zip(items, args, strict=True))
    raise ValueError


def expected(kind: Any) -> str:
    """What a value of type ``kind`` looks like, to follow the words 'must be'."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin in (Union, UnionType):
        return " or ".join(map(expected, args))
    if origin in (list, tuple):
        many = origin is list or args[-1] is Ellipsis
        return f"{'' if many else f'{len(args)} '}comma-separated values, each {expected(args[0])}"
    return WORDS.get(kind, f"set in Python: no text can spell {kind}")
