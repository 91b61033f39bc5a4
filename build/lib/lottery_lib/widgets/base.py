"""What the interactive figures share: a still picture, an answer to their JavaScript, one module and style sheet each.

The JavaScript draws and, in a static page, computes. It greets the kernel; where one answers, a widget may leave the
computing to Python. Its modules lie beside the Python ones and import each other by name.
"""

import base64
import io
import re
from pathlib import Path

import anywidget
from matplotlib.figure import Figure

from lottery_lib.figures import style

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
COLOURS = ("BLACK", "ORANGE", "SKY", "GREEN", "YELLOW", "BLUE", "VERMILION", "PURPLE")


def module(name: str) -> str:
    """The ES module ``name``.js, behind those that it imports from this folder: an anywidget is a single file."""
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        source = (HERE / f"{name}.js").read_text(encoding="utf-8")
        for needed in IMPORT.findall(source):
            if needed not in parts:
                add(needed)
        parts[name] = EXPORT.sub("", IMPORT.sub("", source))

    add(name)
    return "\n".join(parts.values())


def sheet(*names: str) -> str:
    """The style sheets ``common`` and ``names``, behind the colours of ``figures.style`` as ``--blue`` etc."""
    palette = " ".join(f"--{name.lower()}: {getattr(style, name)};" for name in COLOURS)
    sheets = [(HERE / f"{name}.css").read_text(encoding="utf-8") for name in ("common", *names)]
    return "\n".join([f".lottery {{ {palette} }}", *sheets])


class InteractiveFigure(anywidget.AnyWidget):
    """Base class. A subclass sets ``_esm = module(...)`` and ``_css = sheet(...)``, and draws its ``still``."""

    def __init__(self, **traits):
        super().__init__(**traits)
        self.on_msg(self._answer)

    def still(self) -> Figure:
        """The picture that stands in for the widget in PDF, on GitHub, and where JavaScript is off."""
        raise NotImplementedError

    def _answer(self, _, content, buffers) -> None:
        if content.get("kind") == "hello":
            self.send({"kind": "live"})

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        png = io.BytesIO()
        self.still().savefig(png, format="png")
        return data | {"image/png": base64.b64encode(png.getvalue()).decode()}, metadata
