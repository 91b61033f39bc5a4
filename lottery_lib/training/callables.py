"""What tells a reader's loss or objective from another one of the same name: its code, and what that reads.

That is numbers, texts, tensors and other functions: in its constants, defaults, closure, module and attributes. What
else it refers to, as files or loggers, counts by its type: that may change while what is computed does not.
"""

import sys
import sysconfig
from argparse import Namespace
from dataclasses import is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType, SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor, nn

from lottery_lib.data import structure

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
BESIDE = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}  # hooks and the like, numbered as they come
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def told(value: Any) -> bytes:
    """The same bytes for the same function or object, in another process, too."""
    return _told(value, {})


def _told(value: Any, seen: dict[int, tuple[int, Any]]) -> bytes:
    """``seen``: what was told before, and as the how manieth, as functions may read each other."""
    kind = type(value).__qualname__.encode()
    if isinstance(value, PLAIN):
        return kind + repr(value).encode()
    if isinstance(value, (Tensor, np.ndarray)):
        return structure.fingerprint(value)
    if id(value) in seen:
        return kind + str(seen[id(value)][0]).encode()
    if not isinstance(value, (tuple, CodeType)):  # equal ones of these may be one object or two
        seen[id(value)] = len(seen), value
    return b"(" + kind + b"".join(_told(part, seen) for part in _parts(value)) + b")"


def _parts(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [*value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, dict):
        return [*value.items()]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_consts]
    name = getattr(value, "__qualname__", "")
    if isinstance(value, FunctionType) and _readers(value):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        read = [value.__globals__[each] for each in _names(value.__code__) if each in value.__globals__]
        return [name, value.__code__, value.__defaults__, value.__kwdefaults__, cells, read]
    if not isinstance(value, type) and (
        callable(value) or is_dataclass(value) or isinstance(value, (SimpleNamespace, Namespace))
    ):
        kept = {key: part for key, part in getattr(value, "__dict__", {}).items() if key not in BESIDE}
        methods = [part for kind in type(value).__mro__ if _readers(kind) for part in vars(kind).values()]
        return [name, kept, [part for part in methods if isinstance(part, FunctionType)]]
    return [name]


def _readers(value: Any) -> bool:
    """Whether a function or class is the reader's; those of installed packages are known by their names."""
    module = value.__module__ or ""
    file = getattr(sys.modules.get(module), "__file__", None) or ""  # none of what is typed in
    return module.partition(".")[0] != "lottery_lib" and not file.startswith(INSTALLED)


def _names(code: CodeType) -> list[str]:
    """The names that a function's code looks up, and those of the functions within it."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return [*code.co_names, *(name for each in inner for name in _names(each))]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # what it names is not there yet
        return False
