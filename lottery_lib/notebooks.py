"""Parameterised notebooks, run by papermill with every parameter checked before the first cell runs.

A notebook's parameters stand in its cell tagged ``"parameters"``, one ``name: type = literal  # comment`` a line. Its
metadata may name a dataclass, ``{"lottery": {"config": "module:Class"}}``, whose fields share the parameters' names:
then that class's types and range checks hold as well. Needs the extra [book].
"""

import ast
import logging
import os
import pkgutil
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lottery_lib import errors, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import params

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "tuple": tuple}


class Parameter(NamedTuple):
    """One line of a parameters cell."""

    annotation: str
    type: Any
    default: Any
    comment: str


def run(name: str, pairs: Sequence[str] = (), out: Path | str | None = None) -> Path:
    """Run a notebook on this Python with ``NAME=VALUE`` parameters; returns where the executed notebook lies.

    ``name`` is a notebook's stem in ``notebooks/``, a unique beginning of it, or the path of an .ipynb. ``out`` is
    ``_build/runs/<stem>.ipynb`` if not given. The run grows in ``<out>.partial.ipynb`` beside it, which becomes ``out``
    only when the last cell has succeeded. The notebook's working directory is the caller's. Papermill writes no
    tuples: they reach the notebook as lists.

    Raises LotteryError before any cell runs (no such notebook, wrong parameter, unsuitable ``out``), or when a cell
    fails.
    """
    pm = _papermill()
    from nbclient.exceptions import DeadKernelError

    source = find(name)
    values = _check(source, pairs)
    out = Path(out or paths.ROOT / "_build" / "runs" / f"{source.stem}.ipynb")
    partial = _prepare(source, out)
    try:
        with tempfile.TemporaryDirectory(prefix="lottery-") as folder:
            notebook = pm.execute_notebook(
                _verbatim(source), _verbatim(partial),
                parameters={key: list(value) if isinstance(value, tuple) else value for key, value in values.items()},
                kernel_name="python3", language="python", kernel_manager_class=_this_python(folder),
                extra_arguments=["--log-level=CRITICAL"],  # starts, failures and Ctrl-C make it chatty
                progress_bar=sys.stderr.isatty(),
            )  # fmt: skip
    except (pm.exceptions.PapermillExecutionError, DeadKernelError) as error:
        notebook = _load(partial)
        number, line = _last_started(notebook)
        _write(notebook, source, partial)
        died = isinstance(error, DeadKernelError)
        reason = "the kernel died" if died else f"{error.ename}: {error.evalue}".rstrip(": ").splitlines()[0]
        raise LotteryError(
            f"{shown(source)} failed in code cell {number} ({line}): {reason}; "
            f"the notebook as far as it ran is {shown(partial)}"
        ) from None
    _write(notebook, source, partial)
    return partial.replace(out.resolve())


def find(name: str) -> Path:
    """The path of a notebook named by its stem in ``notebooks/``, a unique beginning of it, or the path of an .ipynb.

    Raises LotteryError if there is none, or more than one.
    """
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    if path.name != name:
        raise LotteryError(f"there is no notebook {name}; give the path of an existing .ipynb file")
    known = {path.stem: path for path in sorted(paths.NOTEBOOKS.glob("*.ipynb"))}
    stem = name.removesuffix(".ipynb")
    matches = [stem] if stem in known else [key for key in known if key.startswith(stem)]
    if len(matches) > 1:
        raise LotteryError(f"{name!r} fits {len(matches)} notebooks: {', '.join(matches)}; write more of the name")
    if not matches:
        raise LotteryError(f"there is no notebook {name!r} in {shown(paths.NOTEBOOKS)}{errors.hint(stem, known)}")
    return known[matches[0]]


def titles() -> dict[str, str]:
    """Stem -> first heading of every notebook in ``notebooks/``, in their order."""
    _papermill()
    found = {}
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        prose = [cell.source for cell in _load(path).cells if cell.cell_type == "markdown"]
        headings = [line.lstrip("# ") for text in prose for line in text.splitlines() if line.startswith("#")]
        found[path.stem] = headings[0] if headings else ""
    return found


def parameters(path: Path) -> dict[str, Parameter]:
    """Name -> Parameter, as the notebook's cell tagged ``"parameters"`` declares them; empty if there is no such cell.

    Raises LotteryError if a line of that cell is not ``name: type = literal  # comment``.
    """
    pm, notebook, found = _papermill(), _load(path), {}
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    source = next((cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), "")
    lines = [line for line in source.splitlines() if line.split("#")[0].strip()]
    try:
        for name, line in pm.inspect_notebook(notebook).items():
            annotation, default = line["inferred_type_name"], ast.literal_eval(line["default"])
            kind = _kind(annotation) or type(default)  # no annotation reads as None
            found[name] = Parameter(annotation, kind, default, line["help"])
    except (NameError, SyntaxError, TypeError, ValueError):
        pass
    if len(found) != len(lines):  # papermill passes over what it cannot read
        raise LotteryError(
            f"{shown(path)}: every line of the cell tagged 'parameters' must read 'name: type = literal  # comment', "
            f"with a type made of {', '.join(TYPES)}, and no second '=' or '#'"
        )
    return found


def check(namespace: Mapping[str, Any]) -> None:
    """Refuse what papermill by itself lets pass; a notebook calls it after its parameters, with its ``globals()``.

    Raises LotteryError if a parameter has a value of another type than its own, or if papermill was given a name that
    no parameter has. Ranges are refused by what the values are given to next.
    """
    known: dict[str, Any] = {}
    for source in namespace.get("In", ()):  # what ran so far: IPython keeps it
        try:
            lines = ast.parse(source).body
        except SyntaxError:  # a magic command
            continue
        if not known and lines and all(isinstance(line, ast.AnnAssign) for line in lines):
            known = {line.target.id: _kind(ast.unparse(line.annotation)) for line in lines}
            known |= {line.target.id: known[line.target.id] | None for line in lines if _is_none(line.value)}
        elif source.startswith("# Parameters\n"):  # papermill's own cell
            for name in [target.id for line in lines for target in line.targets]:
                if name not in known:
                    raise LotteryError(f"unknown parameter {name!r}{errors.hint(name, known)}")
    for name, kind in known.items():
        if not errors.fits(namespace[name], kind):
            said = "a list" if kind is list else params.expected(kind)
            raise LotteryError(f"{name} = {namespace[name]!r}: must be {said}")


def _kind(annotation: str) -> Any:
    return eval(annotation, {"__builtins__": {}}, TYPES)


def _is_none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def shown(path: Path) -> str:
    """``path`` as a reader would type it: relative if it lies in the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _check(source: Path, pairs: Sequence[str]) -> dict[str, Any]:
    """The values that ``pairs`` give to the notebook's parameters, of the right types and in range."""
    known = parameters(source)
    if pairs and not known:
        raise LotteryError(f"{shown(source)} takes no parameters: it has no cell tagged 'parameters'")
    types = {name: parameter.type for name, parameter in known.items()}
    about = _load(source).metadata.get("lottery")
    config_name = about.get("config") if isinstance(about, dict) else None
    if config_name is None:
        return params.parse(pairs, types)
    try:
        config = pkgutil.resolve_name(config_name)
        if not (isinstance(config, type) and is_dataclass(config)):
            raise TypeError("that is no dataclass")
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise LotteryError(f"{shown(source)}: its metadata name the config {config_name!r}, but {error}") from None
    shared = {name: kind for name, kind in params.field_types(config).items() if name in known}
    values = params.parse(pairs, types | shared)
    defaults = {name: parameter.default for name, parameter in known.items()}
    config(**{name: (defaults | values)[name] for name in shared})  # refuses what is out of range
    return values


def _prepare(source: Path, out: Path) -> Path:
    """Make sure that ``out`` can be written; the path in which the run grows until it is complete."""
    target = out.resolve()
    partial = target.with_suffix(".partial.ipynb")
    if out.suffix != ".ipynb" or (target.exists() and not target.is_file()):
        raise LotteryError(f"the output {out} must be the path of an .ipynb file")
    if any(path.exists() and path.samefile(source) for path in (target, partial)):
        raise LotteryError(f"the output {out} would overwrite the notebook that is run; name another with --out")
    if target.is_relative_to(paths.NOTEBOOKS.resolve()):
        raise LotteryError(f"the output {out} lies among the sources in {shown(paths.NOTEBOOKS)}; name another folder")
    try:
        if not target.parent.exists():
            target.parent.mkdir(parents=True)
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise LotteryError(f"cannot write {out}: {error.strerror}; name a place you may write to") from None
    return partial


def _papermill():
    try:
        import papermill
    except ImportError:
        raise LotteryError("papermill is not installed: pip install -e .[book]") from None
    logging.getLogger("papermill").setLevel(logging.ERROR)
    return papermill


def _this_python(folder: str) -> type:
    """A kernel manager that starts the running interpreter, whatever kernels the machine has registered.

    Where the system can, it talks through sockets in ``folder``: kernels started side by side race for TCP ports.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from traitlets import default

    class ThisPython(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _native_only(self):
            return KernelSpecManager(kernel_dirs=[])

        @default("connection_file")
        def _private(self):
            return os.path.join(folder, "kernel.json")

        @default("transport")
        def _sockets(self):
            return "ipc" if os.name == "posix" and len(folder) < 80 else "tcp"  # a socket's path is at most about 100

    return ThisPython


def _load(path: Path):
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a cell without an id, which older ones lack
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
        return notebook
    except OSError:
        raise
    except Exception:  # its readers fail in many ways
        raise LotteryError(f"{shown(path)} is not a Jupyter notebook, or a damaged one") from None


def _last_started(notebook) -> tuple[int, str]:
    """The last code cell that was started: its number among the code cells, and its first line."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.metadata.papermill["start_time"]]
    return len(cells), cells[-1].source.strip().splitlines()[0]


def _write(notebook, source: Path, path: Path) -> None:
    """Write an executed notebook with what a reader needs of papermill's metadata, and no path of this machine."""
    import nbformat

    kept = {key: notebook.metadata.papermill[key] for key in ("version", "parameters", "duration")}
    origin = source.relative_to(paths.ROOT).as_posix() if source.is_relative_to(paths.ROOT) else source.name
    notebook.metadata.papermill = {"input_path": origin, **kept}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    nbformat.write(notebook, path)


def _verbatim(path: Path) -> str:
    """``path`` as papermill takes it: a format string."""
    return str(path).replace("{", "{{").replace("}", "}}")
