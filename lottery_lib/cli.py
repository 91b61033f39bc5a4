"""The command line: one function a subcommand. What a subcommand needs it imports itself, so that --help is quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from lottery_lib.errors import LotteryError


class Group(TyperGroup):
    """Turns the user's errors into one line on stderr and an exit code; the programmer's keep their traceback."""

    def main(self, *args, **kwargs):
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # what a terminal cannot show, as λ in cp1252, is shown as ?
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `lottery ... | head`, which click ends quietly
            raise
        except (LotteryError, OSError) as error:
            text = f"{error.filename}: {error.strerror}" if getattr(error, "filename", None) else error
            typer.echo(f"error: {' '.join(str(text).split())}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


Pairs = Annotated[
    list[str] | None, typer.Option("-p", "--param", metavar="NAME=VALUE", help="Set a parameter; repeatable.")
]
app = typer.Typer(
    cls=Group, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def lottery():
    """Winning tickets by concave mask regularisation: a rerunnable reproduction of arXiv 2501.11135."""


@app.command()
def notebook(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Stem in notebooks/, its beginning, or a path.")
    ] = None,
    pairs: Pairs = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Executed notebook.  [default: _build/runs/<stem>.ipynb]")
    ] = None,
    help_params: Annotated[bool, typer.Option("--help-params", help="Print its parameters and stop.")] = False,
):
    """Run a notebook with checked parameters, or list them all."""
    from lottery_lib import notebooks, paths

    if name is None and (pairs or out):
        raise typer.BadParameter("NAME says which notebook to run; without it, only the notebooks are listed")
    if name is None:
        if not (found := notebooks.titles()):
            raise LotteryError(f"there are no notebooks in {paths.NOTEBOOKS}; go to a checkout of the project")
        _table(found.items())
    elif help_params and (pairs or out):
        raise typer.BadParameter("--help-params runs nothing; leave out the other options")
    elif help_params:
        found = notebooks.parameters(notebooks.find(name))
        _table((key, p.annotation, repr(p.default), p.comment) for key, p in found.items())
    else:
        typer.echo(f"wrote {notebooks.shown(notebooks.run(name, pairs or [], out))}")


class Train(TyperCommand):
    """Its help ends with the protocols there are."""

    def format_epilog(self, ctx, formatter):
        from lottery_lib.experiments import catalogue, protocols

        catalogue.load_plugins()
        with formatter.section("Protocols"):
            for name in protocols.PROTOCOLS:
                formatter.write_text(name)


@app.command(cls=Train)
def train(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="What to run: one of those below.")],
    pairs: Pairs = None,
    help_params: Annotated[bool, typer.Option("--help-params", help="List what PROTOCOL takes; runs nothing.")] = False,
):
    """Make a record in results/, unless it is there already; on several devices under torchrun."""
    from lottery_lib import notebooks
    from lottery_lib.experiments import params, protocols
    from lottery_lib.training import distributed

    if help_params:
        if pairs:
            raise typer.BadParameter("--help-params runs nothing; leave out the other options")
        rows = params.described(protocols.config_class(protocol))
        _table((key, kind, str(default), note) for key, kind, default, note in rows)
        return
    config = params.from_pairs(protocols.config_class(protocol), pairs or [])
    with distributed.joined():
        folder = protocols.train(config, progress=sys.stderr.isatty())
        if distributed.first():
            typer.echo(f"record: {notebooks.shown(folder)}")


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(metavar="GRID", help="A file in workflow/grids/, without its ending.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is left to run.")] = False,
    engine: Annotated[str, typer.Option(help="loop, or snakemake with jobs side by side.")] = "loop",
    part: Annotated[
        str | None, typer.Option(metavar="I-N", help="loop: only the I-th to the N-th group, a row of the grid each.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="loop: start no run that will not end in time, as in 9m.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="snakemake: one of workflow/profiles/.  [default: local]")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="snakemake: how many to use.  [default: all]")] = None,
    target: Annotated[str | None, typer.Option(help="snakemake: runs, table, figures, book.  [default: table]")] = None,
    clone: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Run in a clone of this checkout, which may be edited meanwhile."),
    ] = None,
):
    """Put a grid on record, in order; what is there already is passed over, and a run that fails stops no other."""
    from lottery_lib import errors
    from lottery_lib.experiments import records, snakemake, sweeps

    engines = {
        "loop": (sweeps.run, {"part": part, "budget": budget}),
        "snakemake": (snakemake.run, {"profile": profile, "cores": cores, "target": target}),
    }
    if engine not in engines:
        raise LotteryError(f"unknown engine {engine!r}{errors.hint(engine, engines)}")
    for other, (_, options) in engines.items():
        if other != engine and (given := [key for key, value in options.items() if value is not None]):
            raise LotteryError(f"--{given[0]} is for --engine {other}, not for {engine}")
    if clone:
        from lottery_lib.experiments import clones

        if engine != "loop" or dry_run:
            raise LotteryError("--clone runs the plain loop; leave out --engine and --dry-run")
        given = [("--part", part), ("--budget", budget)]
        _collected(clones.sweep(clone, [name, *(word for pair in given if pair[1] for word in pair)]))
        return
    run, options = engines[engine]
    failed = run(name, dry_run=dry_run, **{key: value for key, value in options.items() if value is not None})
    for config, reason in failed.items():
        typer.echo(f"failed: {records.command(config)}: {reason}", err=True)
    if failed:
        raise LotteryError(f"{len(failed)} runs failed; the reasons stand above")


@app.command()
def collect(clone: Annotated[Path, typer.Argument(metavar="FOLDER", help="Another checkout of this project.")]):
    """Bring the records of another checkout here, if they are what they say; nothing is overwritten."""
    from lottery_lib.experiments import clones

    _collected(clones.collect(clone))


def _collected(found):
    typer.echo(f"{len(found.brought)} records brought, {found.known} were here already")
    for run, reason in found.refused.items():
        typer.echo(f"refused: {run}: {reason}", err=True)
    if found.refused:
        raise LotteryError(f"{len(found.refused)} records were refused; the reasons stand above")


@app.command()
def verify(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Names of folders in results/.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="So many records instead, drawn at random.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Draw from this protocol's alone.")] = None,
):
    """Make records again as they were made, and say whether every bit is the same; fails if one is not."""
    from lottery_lib.experiments import verify

    if bool(runs) == bool(sample):
        raise LotteryError("name the runs to verify, or say how many to draw with --sample")
    if runs and protocol:
        raise LotteryError("--protocol says of which to draw a --sample; leave it out where runs are named")
    drawn, other, failed = runs or verify.sample(sample, protocol), 0, 0
    for run in drawn:
        try:
            outcome = verify.verify(run)
        except LotteryError as reason:
            failed += 1
            typer.echo(reason, err=True)
        else:
            other += not outcome.same
            typer.echo(f"{run}  {outcome.said}")
    if other or failed:
        counted = {"came out otherwise": other, "could not be made again": failed}
        said = [f"{count} {what}" for what, count in counted.items() if count]
        raise LotteryError(f"of {len(drawn)} records {' and '.join(said)}; the reasons stand above")


@app.command()
def table():
    """Write results/table.csv, one row for each ticket run on record."""
    from lottery_lib import files, notebooks, paths
    from lottery_lib.findings import tables

    found, target = tables.runs(), paths.RESULTS / "table.csv"
    if found.empty:
        raise LotteryError(f"no ticket run is on record in {paths.RESULTS}; make one with: lottery train lenet")
    files.require_writable(paths.RESULTS)
    with files.whole(target) as unfinished:
        found.to_csv(unfinished, index=False)
    typer.echo(f"wrote {notebooks.shown(target)}: {len(found)} runs")


@app.command()
def figure():
    """Draw every figure in figures/ from the records."""
    from lottery_lib import notebooks
    from lottery_lib.figures import gallery

    for path in gallery.draw_all():
        typer.echo(f"wrote {notebooks.shown(path)}")


@app.command()
def claims(write: Annotated[bool, typer.Option("--write", help="Renew README.md and book/claims.md.")] = False):
    """Print the claims and what the records say of them."""
    from lottery_lib import files, paths
    from lottery_lib.findings import claims

    found = claims.load()
    if write:
        readme = paths.ROOT / "README.md"
        text = claims.with_summary(readme.read_text("utf-8", "surrogateescape"), found)  # its other bytes stay
        for path, written in ((readme, text), (paths.ROOT / "book" / "claims.md", claims.page(found))):
            with files.whole(path) as unfinished:
                unfinished.write_text(written, "utf-8", "surrogateescape")
    _table(
        (claim.id, claim.status, "; ".join(map(str, claim.verdict.answers)) if claim.verdict else claim.text)
        for claim in found
    )


def _table(rows):
    """Print rows of texts in aligned columns."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
