"""Interactive figures, live in Jupyter and in the book's static pages from the same class. Needs the extra [book]."""

from lottery_lib.errors import LotteryError

try:
    import anywidget  # noqa: F401
except ImportError:
    raise LotteryError("the interactive figures need anywidget: pip install -e .[book]") from None

from .explorer import TicketExplorer
from .playground import Playground
from .regularizer_card import RegularizerCard

__all__ = ["Playground", "RegularizerCard", "TicketExplorer"]
