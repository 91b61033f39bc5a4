"""What tells a reader's loss or objective from another one of the same name: its code, and what that reads.

That is numbers, texts, tensors and other functions: in its constants, defaults, closure, module and attributes. What
else it refers to, as files or loggers, counts by its type: that may change while what is computed does not.
"""

import dis
import sys
import sysconfig
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lottery_lib.data import structure

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, Enum, np.generic, torch.dtype, torch.device)
BESIDE = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}  # hooks and the like, numbered as they come
BESIDE |= {"_is_torch_compile"}
COMPILED = ("_orig_mod", "_torchdynamo_orig_callable")  # what torch.compile made it from
KNOWN = ("lottery_lib", "builtins")  # packages, wherever they lie
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def told(value: Any) -> bytes:
    """The same bytes for the same function or object, in another process, too."""
    return _told(value, {})


def _told(value: Any, seen: dict[int, tuple[int, Any]]) -> bytes:
    """``seen``: what was told before, and as the how manieth, as functions may read each other."""
    if isinstance(value, (nn.Module, FunctionType)):
        value = next((made for name in COMPILED if (made := getattr(value, name, None)) is not None), value)
    kind = type(value).__qualname__.encode()
    if isinstance(value, PLAIN):
        return kind + repr(value).encode()
    if isinstance(value, (Tensor, np.ndarray)):
        return structure.fingerprint(value)
    if id(value) in seen:
        return kind + str(seen[id(value)][0]).encode()
    if not isinstance(value, (tuple, CodeType)):  # equal ones of these may be one object or two
        seen[id(value)] = len(seen), value
    if isinstance(value, (set, frozenset)):
        return b"{" + b"".join(sorted(_told(each, {**seen}) for each in value)) + b"}"  # in whatever order they come
    return b"(" + kind + b"".join(_told(part, seen) for part in _parts(value)) + b")"


def _parts(value: Any) -> list[Any]:
    name = value.__qualname__ if isinstance(value, (type, FunctionType, BuiltinFunctionType)) else ""
    if isinstance(value, (tuple, list)):
        return [*value]
    if isinstance(value, dict):
        return [*value.items()]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_consts]
    if isinstance(value, FunctionType):
        if not _readers(value.__code__.co_filename, value.__module__):
            return [name]
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        return [name, value.__code__, value.__defaults__, value.__kwdefaults__, cells, _read(value)]
    if isinstance(value, type):
        return [name, *_members(value)]
    if isinstance(value, (nn.Module, SimpleNamespace)) or callable(value) or _members(type(value)):
        own = {key: part for key, part in getattr(value, "__dict__", {}).items() if key not in BESIDE}
        return [name, own, *_members(type(value))]
    return [name]


def _members(kind: type) -> list[Any]:
    """What the reader's classes among a class's own say: methods, and values that all objects share."""
    found: list[Any] = []
    for each in kind.__mro__:
        if _readers(getattr(sys.modules.get(each.__module__), "__file__", None), each.__module__):
            found += ((key, _bare(part)) for key, part in vars(each).items() if key == "__call__" or key[:2] != "__")
    return found


def _bare(member: Any) -> Any:
    if isinstance(member, (staticmethod, classmethod)):
        return member.__func__
    return member.fget if isinstance(member, property) else member


def _readers(file: str | None, module: str | None) -> bool:
    """Whether what is in this file is the reader's; what installed packages have is known by its name."""
    return not (file or "").startswith(INSTALLED) and (module or "").partition(".")[0] not in KNOWN


def _read(function: FunctionType) -> list[Any]:
    """What the code of a function, and of those within it, looks up in its module, or in another of the reader's."""
    found: list[Any] = []
    for code in _codes(function.__code__):
        named = {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        for value in (function.__globals__[name] for name in sorted(named) if name in function.__globals__):
            if isinstance(value, ModuleType):
                mine = _readers(getattr(value, "__file__", None), value.__name__)
                found += (vars(value)[name] for name in code.co_names if mine and name in vars(value))
            else:
                found.append(value)
    return found


def _codes(code: CodeType) -> list[CodeType]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return [code, *(deeper for each in inner for deeper in _codes(each))]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (which says whether there is any)
    except ValueError:  # what it names is not there yet
        return False
    return True
