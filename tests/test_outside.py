"""What comes from outside, in whatever state: one sentence, an exit code, nothing half-written; never a traceback."""

import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from runs import Tiny
from toy import digits, find, lenet, perceptron

from lottery_lib import controls, files, masks, notebooks, paths, regularizers, ticket_files, weights
from lottery_lib.cli import app
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import grids, protocols, records, ticket_run
from lottery_lib.findings import rules, tables
from lottery_lib.methods import concave, continuous, saliency
from lottery_lib.tickets import Ticket
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

LOTTERY = [sys.executable, "-c", "from lottery_lib.cli import app; app()"]
SCALARS = st.sampled_from(
    [None, True, -1, 0, 1.5, 2**64, 10**400, float("nan"), float("inf"), "", "λ", "text", "1e999"]
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
often = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def nodes(value, place=()):
    """The places of all parts of nested dicts and lists."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from nodes(inner, (*place, key))


@st.composite
def mutants(draw, value):
    """``value`` with one part of it replaced by anything, or left out."""
    place = draw(st.sampled_from(sorted(nodes(value), key=repr)))
    if not place:
        return draw(JSON)
    whole = inner = copy.deepcopy(value)
    for key in place[:-1]:
        inner = inner[key]
    if draw(st.booleans()):
        inner[place[-1]] = draw(JSON)
    else:
        del inner[place[-1]]
    return whole


def damaged(content: bytes):
    """``content`` cut, with a byte changed, or something else altogether."""
    cut = st.integers(0, len(content) - 1).map(lambda at: content[:at])
    changed = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)).map(
        lambda drawn: content[: drawn[0]] + bytes([drawn[1]]) + content[drawn[0] + 1 :]
    )
    return cut | changed | st.binary(max_size=40) | st.just(b"\xff\xfe" + content) | st.just(b"[" * 5000)


def refused_or_read(read):
    """Whatever comes of it, if it is refused, then in one sentence."""
    try:
        return read()
    except LotteryError as error:
        assert str(error) and "\n" not in str(error)
        return error


# Tickets.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("tickets") / "it.safetensors"
    ticket = find("random", options={})
    Ticket(**vars(ticket) | {"relaxed": {name: m.float() for name, m in ticket.mask.items()}}).save(path, relaxed=True)
    return path


def signed(path, fields=None, tensors=None, texts=None):
    """The ticket with these parts in place of its own, signed as ``save`` signs."""
    found, own = ticket_files._read(path)
    found = found | {key: json.dumps(value) for key, value in (fields or {}).items()} | (texts or {})
    kept = {key: value for key, value in (own | (tensors or {})).items() if value is not None}
    found = {key: value for key, value in found.items() if value is not None}
    signature = ticket_files.sha256(kept, found)
    other = path.with_name("other.safetensors")
    other.write_bytes(safetensors.torch.save(kept, found | {"sha256": signature}))
    return other


def test_a_signed_ticket_is_read(saved):
    assert repr(Ticket.load(signed(saved))) == repr(Ticket.load(saved))


ARCHITECTURE = ("architecture", "layout", "fc1.weight")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"fields": {"search_epochs": "ten"}}, "its search_epochs must be a number, 0 or more"),
        ({"fields": {"search_epochs": float("nan")}}, "its search_epochs must be a number"),
        ({"fields": {"seed": 1.5}}, "its seed must be a seed, or null"),
        ({"fields": {"config": []}}, "its config must be a dict"),
        ({"fields": {"mask": ["fc9.weight"]}}, "its mask covers 'fc9.weight', which its architecture does not have"),
        ({"texts": {"info": "{"}}, "its info is missing, or no JSON"),
        ({"texts": {"info": None}}, "its info is missing, or no JSON"),
        ({"texts": {"lottery_ticket": "one"}}, "is a ticket of a format 'one' that there is not"),
        ({"tensors": {"mask": None}}, "its mask is missing, or not of bytes"),
        ({"tensors": {"mask": torch.zeros(3)}}, "its mask is missing, or not of bytes"),
        ({"tensors": {"mask": torch.zeros(3, dtype=torch.uint8)}}, "a packed mask of "),
        ({"tensors": {"state/fc1.bias": None}}, "wrong architecture: where the ticket has 'fc1.bias'"),
        ({"tensors": {"state/fc1.bias": torch.full((30,), float("nan"))}}, "'state/fc1.bias' holds NaN"),
        ({"tensors": {"state/fc9.bias": torch.zeros(3)}}, "nothing in its architecture is called 'state/fc9.bias'"),
    ],
)
def test_a_signed_ticket_with_a_wrong_part_is_refused_in_one_sentence(saved, change, said):
    path = signed(saved, **change)
    with pytest.raises(LotteryError) as error:
        Ticket.load(path)
    assert str(error.value).startswith(str(path)) and said in str(error.value)
    assert str(error.value).endswith("; get the ticket again")


@pytest.mark.parametrize("size", [-1, 1.5, True, "30", 2**63, [30]])
def test_shapes_are_whole_numbers(saved, size):
    architecture = json.loads(ticket_files._read(saved)[0]["architecture"])
    architecture["layout"]["fc1.weight"][0] = size
    architecture["sha256"] = ticket_files.digest(architecture["layout"])
    with pytest.raises(LotteryError, match="its architecture must be a layout of whole numbers"):
        Ticket.load(signed(saved, {"architecture": architecture}))


@often
@given(data=st.data())
def test_any_signed_ticket_is_read_whole_or_refused(saved, data):
    texts, tensors = ticket_files._read(saved)
    name = data.draw(st.sampled_from([*ticket_files._TEXTS, *tensors]))
    if name in tensors:
        kinds = [None, torch.zeros(()), torch.zeros(3, 2), tensors[name].flatten()[1:], tensors[name].to(torch.int8)]
        kinds += [torch.zeros(2, 0), tensors[name].to(torch.bfloat16), tensors[name].to(torch.complex64)]
        path = signed(saved, tensors={name: data.draw(st.sampled_from(kinds))})
    else:
        path = signed(saved, {name: data.draw(mutants(json.loads(texts[name])))})
    found = refused_or_read(lambda: Ticket.load(path))
    if isinstance(found, Ticket):
        refused_or_read(lambda: found.apply(lenet()))
        refused_or_read(lambda: found.save(path))


def test_a_ticket_with_nan_is_not_saved(tmp_path):
    ticket = find("random")
    ticket.rewind["fc1.bias"][0] = float("nan")
    with pytest.raises(LotteryError, match="'state/fc1.bias' holds NaN"):
        ticket.save(tmp_path / "it.safetensors")
    assert not list(tmp_path.iterdir())


# Records, grids, claims and notebooks.


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """The files of a record, made here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "WORK"):
            patch.setattr(paths, name, tmp_path_factory.mktemp(name))
        patch.setitem(protocols.PROTOCOLS, "tiny", (Tiny, ticket_run.run))
        folder = protocols.train(Tiny(density=0.2, lam=1e-4))
        return {path.name: path.read_bytes() for path in folder.iterdir()} | {"run": folder.name}


@often
@given(data=st.data())
def test_any_record_is_read_or_named(record, tmp_path, monkeypatch, data):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    folder = tmp_path / record["run"]
    folder.mkdir(exist_ok=True)
    contents = {name: record[name] for name in ("record.json", "arrays.npz")}
    if data.draw(st.booleans()):
        contents["record.json"] = json.dumps(data.draw(mutants(json.loads(contents["record.json"])))).encode()
    else:
        name = data.draw(st.sampled_from(sorted(contents)))
        contents[name] = data.draw(damaged(contents[name]))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    for read in (
        lambda: records.read_run(folder.name),
        records.read_all,
        lambda: tables._runs.__wrapped__(tmp_path, ()),
    ):
        found = refused_or_read(read)
        assert not isinstance(found, LotteryError) or str(folder) in str(found)


def test_a_record_of_no_bytes_or_without_a_file_is_no_success(record, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    config = Tiny(density=0.2, lam=1e-4)
    for content in ({"record.json": b""}, {"record.json": record["record.json"]}, {"arrays.npz": record["arrays.npz"]}):
        folder = records.folder(config)
        folder.mkdir()
        for name, bytes_ in content.items():
            (folder / name).write_bytes(bytes_)
        with pytest.raises(LotteryError, match=f"is damaged .*; delete the folder {folder.name}, and make the run"):
            protocols.train(config)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


GRID = {"protocol": "digits", "over": {"seed": [0, 1]}, "runs": [{"method": "random", "density": [0.5, 0.2]}]}


@often
@given(text=mutants(GRID).map(lambda grid: yaml.safe_dump(grid).encode()) | damaged(yaml.safe_dump(GRID).encode()))
def test_any_grid_is_read_or_named(tmp_path, monkeypatch, text):
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    (tmp_path / "mine.yaml").write_bytes(text)
    found = refused_or_read(lambda: grids.grid("mine"))
    assert not isinstance(found, LotteryError) or str(found).startswith("grid 'mine': ")
    refused_or_read(lambda: grids.command(["digits"]))


CLAIMS = yaml.safe_load(paths.CLAIMS.read_text("utf-8"))


@often
@given(
    text=mutants(CLAIMS[2:4]).map(lambda rows: yaml.safe_dump(rows).encode())
    | damaged(yaml.safe_dump(CLAIMS[2:3]).encode())
)
def test_any_claims_are_read_or_named(tmp_path, monkeypatch, text):
    monkeypatch.setattr(paths, "CLAIMS", tmp_path / "claims.yml")
    paths.CLAIMS.write_bytes(text)
    for read in (rules.read, lambda: rules.rule("C3").cells(), lambda: rules.rule("C4").cells()):
        refused_or_read(read)


NOTEBOOK = {
    "nbformat": 4, "nbformat_minor": 5, "metadata": {"lottery": {"config": "lottery_lib.training.recipes:Recipe"}},
    "cells": [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title"},
        {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "execution_count": None, "outputs": [],
         "source": "lr: float = 0.1\nepochs: int = 3"},
    ],
}  # fmt: skip


@often
@given(text=mutants(NOTEBOOK).map(lambda found: json.dumps(found).encode()) | damaged(json.dumps(NOTEBOOK).encode()))
def test_any_notebook_is_read_or_named(tmp_path, monkeypatch, text):
    pytest.importorskip("papermill")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    path = tmp_path / "mine.ipynb"
    path.write_bytes(text)
    for read in (notebooks.titles, lambda: notebooks.parameters(path), lambda: notebooks._check(path, ["lr=2"])):
        refused_or_read(read)


# The command line.


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty checkout with a protocol of tiny runs, and the reader standing in it."""
    for name in ("RESULTS", "WORK", "GRIDS", "NOTEBOOKS", "PROFILES", "FIGURES"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "CLAIMS", tmp_path / "claims.yml")
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Briefest, ticket_run.run))
    monkeypatch.chdir(tmp_path)
    paths.GRIDS.mkdir()
    (paths.GRIDS / "mine.yaml").write_text(yaml.safe_dump(GRID))
    return tmp_path


class Briefest(Tiny):
    recipe = Recipe(epochs=1, batch_size=720)


def said(words):
    """Exit code and stderr of the command line, on a terminal that cannot show every letter."""
    streams = [io.TextIOWrapper(io.BytesIO(), "cp1252") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]), pytest.raises(SystemExit) as end:
        app(words)
    for stream in streams:
        stream.flush()
    return end.value.code, streams[1].buffer.getvalue().decode("cp1252")


def one_sentence(words):
    """The command line does what it is asked, shows how it is used, or refuses it in one line."""
    code, stderr = said(words)
    told = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert code == 0 or (code == 2 and "Error: " in stderr) or (code == 1 and len(told) == 1), (words, code, stderr)
    assert code != 1 or stderr.splitlines()[-1] == told[0]
    assert "Traceback" not in stderr
    return code


TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["", ".", "..", "/", "/dev/null", "~", "-", "--", "*", "a" * 300, "\ud800", "λ", "mine", "tiny", "1/2", "0/0",
     "nan", "9" * 5000, "-1", "1e999", "lam=1", "lam=", "=", "--help", "x.ipynb", "lottery_lib", "a\nb", "mine.yaml"]
)  # fmt: skip
OPTIONS = {
    "notebook": ["-p", "--out", "--help-params"], "train": ["-p"], "collect": [], "table": [], "claims": ["--write"],
    "sweep": ["--dry-run", "--engine", "--part", "--budget", "--profile", "--cores", "--target", "--clone"],
    "verify": ["--sample", "--protocol"], "figure": [],
}  # fmt: skip


@often
@given(data=st.data())
def test_any_words_on_the_command_line(root, monkeypatch, data):
    command = data.draw(st.sampled_from(sorted(OPTIONS)))
    word = TEXTS | st.sampled_from(OPTIONS[command] or ["x"])
    words = data.draw(st.lists(word, max_size=4))
    assume(command != "sweep" or "mine" not in words or "--dry-run" in words)  # it would run
    monkeypatch.setattr(protocols, "train", lambda config, progress: root)
    one_sentence([command, *words])


NUMBERS = ("0", "-1", "1e-30", "1e30", "1e308", "1e-320", "5e-324", "nan", "inf", "-0.0", str(2**64), str(10**30), "x")
READ_BY = {"lam": "concave", "mask_lr": "concave", "eps": "concave", "start": "continuous", "length": "gradual"}


@pytest.mark.parametrize("name", [item.name for item in fields(Briefest)])
def test_numbers_beyond_range(root, name):
    for number in NUMBERS:
        given = {"method": READ_BY.get(name, "random"), "density": "0.3", "lam": "1e-4"} | {name: number}
        if given["method"] != "concave":
            given.pop("lam")
        if one_sentence(["train", "tiny", *(word for key in given for word in ("-p", f"{key}={given[key]}"))]):
            assert not list(paths.RESULTS.glob(".*"))


COMMANDS = (
    "notebook", "notebook 01", "table", "claims", "figure", "sweep lenet", "sweep lenet --clone x", "verify --sample 1",
    "sweep lenet --engine snakemake", "collect .",
)  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_outside_a_checkout(words, tmp_path):
    """As of an installed wheel: the command line says what it lacks."""
    shutil.copytree(Path(ticket_files.__file__).parent, tmp_path / "installed" / "lottery_lib")
    (tmp_path / "elsewhere").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [*LOTTERY, *words.split()], env=environment, cwd=tmp_path / "elsewhere", capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_options_that_nothing_reads_are_refused(root):
    assert said(["verify", "x", "--protocol", "tiny"]) == (
        1, "error: --protocol says of which to draw a --sample; leave it out where runs are named\n"
    )  # fmt: skip
    assert said(["notebook", "x", "--help-params", "-p", "lam=1"])[0] == 2


@pytest.mark.parametrize(
    "config, given",
    [
        (Recipe, {"optimizer": "adamw", "momentum": 0.5}),
        (Recipe, {"optimizer": "adamw", "nesterov": True}),
        (controls.Config, {"density": 0.2, "rounds": (0.5, 0.2)}),
        (saliency.Config, {"criterion": "synflow", "batches": 3}),
        (concave.Config, {"lam": 1e-4, "alpha": 0.1, "per_layer": True}),
        (Tiny, {"fast": False, "precision": "bf16"}),
    ],
)
def test_options_that_a_method_does_not_read_are_refused(config, given):
    with pytest.raises(LotteryError, match="leave (it|them) out|leave out one of the two"):
        config(**given)


def test_a_terminal_that_cannot_show_every_letter(root):
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*LOTTERY, "train", "digits", "--help-params"], env=environment, capture_output=True)
    assert done.returncode == 0 and b"of the mask; none: set by the search" in done.stdout and not done.stderr
    done = subprocess.run([*LOTTERY, "train", "mnist-logistic", "-p", "λ=1"], env=environment, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"") and done.stderr.startswith(b"error: unknown parameter '?'")


# Numbers of configs.


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64, 1.5, None, "1"])
def test_seeds_that_generators_do_not_take(seed):
    for use in (
        lambda: Recipe() and concave.Config(seed=seed),
        lambda: masks.random({"weight": (3, 4)}, 0.5, seed),
        lambda: weights.initialize(perceptron(), seed),
        lambda: train(lenet(), digits(), Recipe(epochs=1), seed=seed),
    ):
        with pytest.raises(LotteryError, match="must be a whole number, from 0 to 2\\^63 - 1"):
            use()


@pytest.mark.parametrize("config", [concave.Config, continuous.Config])
@pytest.mark.parametrize("number", [1e308, 1e-320, float("nan"), float("inf")])
def test_numbers_that_float32_does_not_hold(config, number):
    with pytest.raises(LotteryError, match="lam = .*: must be (0, or of a size|a finite number)"):
        config(lam=number)
    for refuse in (lambda: regularizers.create("log", number), lambda: Recipe(lr=number)):
        with pytest.raises(LotteryError):
            refuse()


def test_numpy_s_numbers_are_numbers(tmp_path, monkeypatch):
    """They are known to be none when the ticket is saved, else."""
    recipe = Recipe(epochs=np.int64(1), lr=np.float32(0.1))
    config = controls.Config(density=np.float32(0.25), seed=np.int64(3), recipe=recipe)
    ticket = controls.search(lenet(), digits(), config, work=tmp_path / "work")
    ticket.save(tmp_path / "it.safetensors")
    assert Ticket.load(tmp_path / "it.safetensors").config["density"] == 0.25
    assert records.name(Tiny("random", np.float64(0.25), np.int64(3))) == records.name(Tiny("random", 0.25, 3))
    assert records.command(Tiny("random", np.float32(0.25))) == "lottery train tiny -p method=random -p density=0.25"


# Where files are written.


def test_a_link_is_written_through(tmp_path):
    ticket, target = find("random"), tmp_path / "deep" / "target.safetensors"
    target.parent.mkdir()
    (tmp_path / "link.safetensors").symlink_to(target)
    for _ in range(2):  # where nothing is yet, and where something is
        ticket.save(tmp_path / "link.safetensors")
        assert (tmp_path / "link.safetensors").is_symlink() and target.is_file() and not target.is_symlink()
        assert Ticket.load(tmp_path / "link.safetensors").density == ticket.density
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_device_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(LotteryError, match="cannot write the ticket .*: it is no file but a device"):
            find("random").save(path)
        with pytest.raises(LotteryError, match="cannot read the ticket .*: it is no file but a device"):
            Ticket.load(path)
        with pytest.raises(OSError, match="it is no file but a device"), files.whole(path) as unfinished:
            unfinished.write_text("x")
    assert Path("/dev/null").is_char_device() and (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


FULL = """
import resource, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from runs import Tiny
from toy import find
from lottery_lib import paths
from lottery_lib.cli import app
from lottery_lib.experiments import protocols, ticket_run
paths.RESULTS, paths.WORK, paths.ROOT = (Path({root!r}) / name for name in ("results", "work", ""))
protocols.PROTOCOLS["tiny"] = Tiny, ticket_run.run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
app({words!r})
"""


@pytest.mark.parametrize("size", [100, 5000])
def test_a_disk_that_is_full(tmp_path, size):
    """As a process finds it that may write so many bytes to a file."""
    words = ["train", "tiny", "-p", "method=random", "-p", "density=0.2"]
    code = FULL.format(path=sys.path, root=str(tmp_path), size=size, words=words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: cannot write the "), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("results/*")) and not [p for p in tmp_path.glob("work/*") if p.stat().st_size <= size]


BARRED = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]  # root, as anybody else


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A checkout that may be read and not written, but for the folder of checkpoints."""
    if os.geteuid() == 0 and not shutil.which(BARRED[0]):
        pytest.skip("root may write anywhere, and there is no setpriv here")
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(paths.ROOT / "lottery_lib", checkout / "lottery_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "book/claims.yml", "notebooks/experiment.ipynb"):
        (checkout / name).parent.mkdir(exist_ok=True)
        shutil.copy(paths.ROOT / name, checkout / name)
    shutil.copytree(paths.ROOT / "workflow", checkout / "workflow")
    for record in [path for path in records.finished() if path.parent.name.startswith("lenet-")][:3]:
        shutil.copytree(record.parent, checkout / "results" / record.parent.name)
    for folder in [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    yield checkout
    for folder in [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    "words, place",
    [
        ("train digits -p method=random -p density=0.3", "results"),
        ("sweep lenet-calibrated", "results"),
        ("table", "results"),
        ("figure", "figures"),
        ("notebook experiment -p density=0.3", "_build"),
    ],
)
def test_a_folder_that_may_not_be_written(locked, words, place):
    """It is said before any work is done, by the name the reader knows."""
    done = subprocess.run(
        [*(BARRED if os.geteuid() == 0 else []), *LOTTERY, *words.split()],
        env=os.environ | {"PYTHONPATH": str(locked), "PYTHONDONTWRITEBYTECODE": "1"}, cwd=locked,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert str(locked / place) in done.stderr and "Permission denied" in done.stderr
    assert not re.search(r"\.\d+-\d+", done.stderr)  # a name that it would have had meanwhile


def test_a_work_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(LotteryError, match="cannot write to .*work: File exists; make it a folder you may write to"):
        train(lenet(), digits(), Recipe(epochs=1), work=tmp_path / "work")


def test_a_file_may_be_read_by_whom_others_may(tmp_path):
    """Nobody else could read a checkpoint or a cache that safetensors wrote, as of a data folder that is shared."""
    with files.whole(tmp_path / "a") as unfinished:
        safetensors.torch.save_file({"x": torch.zeros(1)}, unfinished)
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
