"""What the library's pages say of each object: its signature, its fields, and its docstring with links."""

import ast
import inspect
import re
import sys
from dataclasses import MISSING, fields, is_dataclass
from types import FunctionType, ModuleType
from typing import get_type_hints

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.autodoc.preserve_defaults import DefaultValue
from sphinx.util.inspect import object_description, stringify_signature
from sphinx.util.rst import escape
from sphinx.util.typing import stringify_annotation

PACKAGE = "lottery_lib"
FIELD = re.compile(r"^    (\w+): [^#\n]*  # (.+)$", re.MULTILINE)  # with what is said of it
LITERAL = re.compile(r"(``.+?``)")
CODE = re.compile(r"``([A-Za-z_][\w.]*)(\(.*\))?``")  # a name, or a call
INDEXED = re.compile(r"(?<![\w`])([α-ωΑ-Ω])\\?_(\w+)")
ERROR = re.compile(r"\bLotteryError\b(?!:)")  # a section Raises makes its own link
PLAIN = {" -> ": " → ", " >= ": " ≥ ", " <= ": " ≤ "}
ORDER = ("return", "rtype", "raises")  # of what is told below the parameters


def is_record(obj):
    """Whether this is a class whose fields are its parameters."""
    return isinstance(obj, type) and (is_dataclass(obj) or issubclass(obj, tuple) and hasattr(obj, "_fields"))


def show_signature(app, what, name, obj, options, arguments, returns):
    """The parameters of a class as a reader would write them: no address, no ``<factory>``, and none of a protocol,
    which nobody calls."""
    if not isinstance(obj, type):
        return None
    if getattr(obj, "_is_protocol", False):
        return "", None
    made = {}
    if is_dataclass(obj):
        made = {field.name: field.default_factory() for field in fields(obj) if field.default_factory is not MISSING}
    elif arguments != "(*args, **kwargs)" or "__init__" not in vars(obj):  # as those who made its metaclass left it
        return None
    signature = inspect.signature(obj if is_dataclass(obj) else vars(obj)["__init__"])
    parameters = [
        parameter.replace(default=DefaultValue(spelt(made.get(parameter.name, parameter.default))))
        if parameter.default is not parameter.empty
        else parameter
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return stringify_signature(inspect.Signature(parameters), show_annotation=False), None


def spelt(value):
    """A default as it is written, or ... for one that has no short spelling."""
    if isinstance(value, FunctionType):
        return value.__name__ if value.__name__.isidentifier() else "..."
    if is_dataclass(value):
        own = inspect.signature(type(value)).parameters
        told = {name: getattr(value, name) for name in own if own[name].default != getattr(value, name)}
        return f"{type(value).__name__}({', '.join(f'{name}={spelt(told[name])}' for name in told)})"
    said = object_description(value)
    try:
        ast.parse(said, mode="eval")
    except SyntaxError:  # an address, or a table
        return "..."
    return said


def skip_aliases(app, what, name, obj, skip, options):
    """The fields of a named tuple are its parameters already."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def tell_fields(app, what, name, obj, options, lines):
    """Say of each field of a class of fields what it is: what its source says behind it, or ``Annotated[int, "what it
    is"]``, which autodoc would print whole, and not as a type."""
    if not is_record(obj):
        return
    types = app.env.temp_data.setdefault("annotations", {}).setdefault(name, {})  # where autodoc keeps them
    said = {}
    for base in filter(is_record, reversed(obj.__mro__)):  # what a subclass says nothing new of is told by its base
        said |= dict(FIELD.findall(inspect.getsource(base)))
        said |= {field: kind.__metadata__[0] for field, kind in annotated(base).items()}
    types |= {field: stringify_annotation(kind.__origin__, "smart") for field, kind in annotated(obj).items()}
    own, base = inspect.get_annotations(obj), next(filter(self_explaining, obj.__mro__[1:]), None)
    known = [field for field in inspect.signature(obj).parameters if field in said and (field in own or not base)]
    lines += ["", *(f":param {field}: {marked(said[field])}" for field in known), ""]
    if base:  # a protocol has some twenty, which its page would repeat of each
        for field in inspect.signature(base).parameters:
            if field not in own:
                types.pop(field, None)
        other = "other " if known else ""
        lines += [f"The {other}parameters are those of :py:class:`~{base.__module__}.{base.__qualname__}`.", ""]


def self_explaining(kind):
    """Whether this is a class with fields of its own that bear a description, as a command line is made of."""
    return is_record(kind) and not annotated(kind).keys().isdisjoint(inspect.get_annotations(kind))


def annotated(record):
    return {
        name: kind
        for name, kind in get_type_hints(record, include_extras=True).items()
        if hasattr(kind, "__metadata__")
    }


def marked(comment):
    """A comment in reStructuredText: ``code`` is marked there too, and nothing else."""
    pieces = comment.split("``")
    pieces[::2] = [re.sub(r"\\([\"'])", r"\1", escape(piece)) for piece in pieces[::2]]  # quotes are set as elsewhere
    return "``".join(pieces)


def dress(app, what, name, obj, options, lines):
    """Set a docstring as a book is set: with links to what it names, indices below the line, and arrows."""
    example = False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))  # with what it prints
        if example:
            continue
        pieces = LITERAL.split(line)
        for place, piece in enumerate(pieces):
            if place % 2 == 0:
                piece = INDEXED.sub(r"\1\\ :sub:`\2`\\ ", piece)
                piece = ERROR.sub(f":py:class:`LotteryError <{PACKAGE}.errors.LotteryError>`", piece)
                for plain, better in PLAIN.items():
                    piece = piece.replace(plain, better)
                pieces[place] = piece
            elif (found := CODE.fullmatch(piece)) and (target := named(name, what, obj, *found.groups())):
                pieces[place] = f":py:obj:`{piece.strip('`')} <{target}>`"
        lines[number] = "".join(pieces)


def named(name, what, obj, said, call):
    """The full name of the object of the library that the docstring of another one means; None if it means none.

    A name that is a parameter too, or a field, is that, unless it is called.
    """
    home = name
    while home not in sys.modules:
        home = home.rpartition(".")[0]
    module = sys.modules[home]
    owner = getattr(module, name.removeprefix(home).strip(".").split(".")[0], None)  # the class of a method
    if "." not in said and not call and said in parameters(obj) | parameters(owner):
        return None
    package = sys.modules.get(home if hasattr(module, "__path__") else home.rpartition(".")[0])
    near, public = [owner, module], sys.modules[PACKAGE]
    for scope in filter(None, [*near, package, public]):
        found = getattr(public, said, None) if scope is public and said in public.__all__ else scope
        for part in said.split(".") if found is scope else ():
            found = (vars(found) if isinstance(found, (type, ModuleType)) else {}).get(part)
        if (target := address(found, said, scope)) and target != name:
            whole = isinstance(found, ModuleType)
            if "." in said or call or (what in ("module", "class") if whole else scope in near or scope is public):
                return target
    return None


def parameters(obj):
    try:
        return set(inspect.signature(obj).parameters)
    except (TypeError, ValueError):  # a property has none, and of an exception they are not told
        return set()


def address(found, said, scope):
    """Where an object of the library is told of, if it is."""
    if isinstance(found, ModuleType):
        full = found.__name__
    elif isinstance(found, property) and isinstance(scope, type):
        full = f"{scope.__module__}.{scope.__qualname__}.{said}"
    else:
        found = getattr(found, "__func__", found)
        full = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    told = full.startswith(f"{PACKAGE}.") and not any(part.startswith(("_", "<")) for part in full.split("."))
    return full if told and getattr(found, "__doc__", None) and full != f"{PACKAGE}.cli" else None


def join_fields(app, domain, kind, content):
    """Of a docstring with several lists of fields make one, as autodoc would add all types to each."""
    first, *others = [node for node in content if isinstance(node, nodes.field_list)] or [None]
    for each in others:
        content.remove(each)
        first += each.children


def order_fields(app, domain, kind, content):
    """Below a text come the parameters, in the order of the signature, what is returned and raised; then examples.

    That nothing is returned is not said.
    """
    found = next((node for node in content if isinstance(node, nodes.field_list)), None)
    if domain != "py" or found is None:
        return
    parameters = content.parent[0].findall(addnodes.desc_parameter)
    signature = [name.astext() for parameter in parameters for name in parameter.findall(addnodes.desc_sig_name)]

    def rank(field):
        word, _, name = field[0].astext().partition(" ")
        if word in ("param", "type"):
            return 0, signature.index(name.lstrip("*")) if name.lstrip("*") in signature else len(signature)
        return 1, ORDER.index(word) if word in ORDER else len(ORDER)

    content.remove(found)
    told = [field for field in found if [part.astext() for part in field] != ["rtype", "None"]]
    later = (nodes.doctest_block, addnodes.desc, addnodes.index)
    place = next((number for number, node in enumerate(content) if isinstance(node, later)), len(content))
    if place and isinstance(content[place - 1], nodes.paragraph) and content[place - 1].astext().endswith(":"):
        place -= 1  # which leads to the example
    if told:
        content.insert(place, nodes.field_list("", *sorted(told, key=rank)))


def setup(app):
    app.connect("autodoc-process-signature", show_signature)
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("autodoc-process-docstring", tell_fields)
    app.connect("autodoc-process-docstring", dress, priority=900)  # whatever others have made of it
    app.connect("object-description-transform", join_fields, priority=100)
    app.connect("object-description-transform", order_fields, priority=900)  # autodoc adds types at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
