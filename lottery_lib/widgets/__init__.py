"""Interactive figures, live in Jupyter and in the book's static pages from the same class. Needs the extra [book]."""

from lottery_lib.errors import LotteryError

try:
    import anywidget  # noqa: F401
except ImportError:
    raise LotteryError("the interactive figures need anywidget: pip install -e .[book]") from None

from lottery_lib.widgets.explorer import TicketExplorer
from lottery_lib.widgets.playground import Playground
from lottery_lib.widgets.regularizer_card import RegularizerCard
from lottery_lib.widgets.runs_table import RunsTable
from lottery_lib.widgets.search_player import SearchPlayer
from lottery_lib.widgets.two_entries import TwoEntries

__all__ = ["Playground", "RegularizerCard", "RunsTable", "SearchPlayer", "TicketExplorer", "TwoEntries"]
