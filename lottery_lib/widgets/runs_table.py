"""All runs on record as a table to sort and filter, each with the command that remakes it."""

import matplotlib as mpl
import traitlets as t
from matplotlib.figure import Figure

from lottery_lib.experiments import protocols, records
from lottery_lib.figures.style import BLUE, STYLE, new_figure
from lottery_lib.findings import tables
from lottery_lib.widgets.base import InteractiveFigure, module, sheet

COLUMNS = ["method", "density", "seed", "test accuracy, %", "epochs", "network", "protocol", "command"]


class RunsTable(InteractiveFigure):
    """The runs of ``tables.runs``; a row is method, density, seed, accuracy in %, epochs in all, place and command."""

    _esm, _css = module("runs_table"), sheet("runs_table")
    columns = t.List(COLUMNS, read_only=True).tag(sync=True)
    rows = t.List(read_only=True).tag(sync=True)

    def __init__(self):
        super().__init__()
        configs = {record["run"]: protocols.remade(record) for record in records.read_all()}
        self.set_trait("rows", [_row(row, configs[row.run]) for _, row in tables.runs().iterrows()])

    @mpl.rc_context(STYLE)
    def still(self) -> Figure:
        """How many runs there are of each place."""
        counts = {place: len(rows) for place, rows in tables.places(tables.runs()).items()}
        figure, axes = new_figure(1, 1, (7, 0.6 + 0.3 * len(counts)))
        axes[0, 0].barh([*counts], [*counts.values()], color=BLUE)
        axes[0, 0].invert_yaxis()
        axes[0, 0].set_xlabel("runs on record")
        return figure


def _row(row, config) -> list:
    command = records.command(config) if config else "by a package that is not installed here"
    numbers = [float(row.density_asked), int(row.seed), round(float(row.test_accuracy), 2), float(row.total_epochs)]
    return [
        tables.name(row),
        *numbers,
        f"{tables.network(row.model, row.protocol)}, {tables.dataset(row.dataset)}",
        row.protocol,
        command,
    ]
