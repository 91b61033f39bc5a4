"""records.py: names, one rename to write, one sentence when there is nothing to read, and the way back to a command."""

import errno
import json
import os
import shlex
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import params, protocols, records
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.experiments.protocols import LeNet
from lottery_lib.provenance import provenance

OTHER = LogisticConfig(
    "digits", (0, 1), 0.02, 0.2, 0.5, 2.0, 0.0, 10, 1, 0.5
)  # differs from the default in every field
RECORD, ARRAYS = {"config": {"lam": 0.1}, "note": "λ"}, {"weights": np.arange(6.0).reshape(2, 3)}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder that is not there yet."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Names.


def test_the_name_of_the_committed_record_is_pinned():
    assert records.name(LogisticConfig()) == "mnist-logistic-c3aa9744"
    assert records.name(LogisticConfig(digits=[3, 8])) == "mnist-logistic-c3aa9744"  # as a record's JSON has it
    assert records.exists(LogisticConfig())


def test_each_field_and_the_version_change_the_name(monkeypatch):
    changed = [replace(LogisticConfig(), **{f.name: getattr(OTHER, f.name)}) for f in fields(LogisticConfig)]
    names = {records.name(config) for config in [LogisticConfig(), OTHER, *changed]}
    assert len(names) == len(changed) + 2
    monkeypatch.setattr(LogisticConfig, "version", 2)
    assert records.name(LogisticConfig()) not in names


def test_whole_numbers_of_either_type_are_one_run():
    given, meant = LogisticConfig(lam=1, mask_step=2, weight_decay=0, seed=3.0), LogisticConfig("mnist", lam=1.0)
    meant = replace(meant, mask_step=2.0, weight_decay=0.0, seed=3)
    assert records.name(given) == records.name(meant) == "mnist-logistic-dd5f57fc"
    assert records.command(given) == records.command(meant)
    assert records.command(LogisticConfig(lam=1)) == "lottery train mnist-logistic -p lam=1.0"
    assert records.name(LeNet(alpha=1)) == records.name(LeNet(alpha=1.0))  # float | None
    assert records.name(LeNet("dense", 1)) == records.name(LeNet("dense", 1.0)) == "lenet-3593e338"
    assert records.name(LeNet(seed=1)) != records.name(LeNet(lam=1))


def test_a_new_field_renames_nothing():
    @dataclass(frozen=True)
    class Extended(LogisticConfig):
        momentum: float = 0.0

    assert records.name(Extended()) == records.name(LogisticConfig())
    assert records.name(Extended(lam=0.02)) == records.name(LogisticConfig(lam=0.02))
    assert records.name(Extended(momentum=0.9)) != records.name(LogisticConfig())


positive = st.floats(min_value=1e-30, max_value=1e30)


@given(
    st.builds(
        LogisticConfig,
        dataset=st.sampled_from(["mnist", "digits", "fashion-mnist"]),
        digits=st.permutations(range(10)).map(lambda order: tuple(order[:2])),
        lam=positive,
        eps=positive,
        step=st.floats(1e-30, 2, exclude_max=True),
        mask_step=positive,
        weight_decay=st.just(0.0) | positive,
        iterations=st.integers(10, 100_000),
        seed=st.integers(0, 2**63 - 1),
    )
)
def test_the_command_gives_the_config_back(config):
    lottery, train, protocol, *rest = shlex.split(records.command(config))
    assert (lottery, train, protocol, set(rest[::2]) <= {"-p"}) == ("lottery", "train", "mnist-logistic", True)
    read = params.from_pairs(LogisticConfig, rest[1::2])
    assert read == config
    assert records.name(read) == records.name(config)


def test_the_command_names_only_what_differs():
    assert records.command(LogisticConfig()) == "lottery train mnist-logistic"
    command = records.command(LogisticConfig(lam=0.5, digits=(4, 9)))
    assert command == "lottery train mnist-logistic -p digits=4,9 -p lam=0.5"


def test_the_command_quotes_what_a_shell_would_split(monkeypatch):
    called = "it's my method"
    monkeypatch.setitem(METHODS, called, METHODS["random"])
    words = shlex.split(records.command(LeNet(called)))
    assert params.from_pairs(LeNet, words[4::2]) == LeNet(called)


# Writing and reading.


def test_what_is_written_is_read(results):
    assert not records.exists(OTHER)
    folder = records.write(OTHER, RECORD, ARRAYS)
    assert folder == results / records.name(OTHER) and records.exists(OTHER)
    assert os.listdir(results) == [folder.name]
    assert sorted(os.listdir(folder)) == ["arrays.npz", "record.json"]
    assert folder.stat().st_mode & 0o777 == 0o755  # others may read it, unlike mkdtemp's
    record, arrays = records.read(OTHER)
    assert record.pop("provenance") == provenance()
    assert record == {"run": folder.name, "protocol": "mnist-logistic", **RECORD}
    assert list(arrays) == ["weights"]
    np.testing.assert_array_equal(arrays["weights"], ARRAYS["weights"])


def test_a_record_that_is_there_stays(results):
    folder = records.write(OTHER, RECORD, ARRAYS)
    before = contents(folder)
    assert records.write(OTHER, {"config": {}}, {}) == folder
    assert contents(folder) == before


def test_of_two_runs_at_once_the_first_to_finish_stays(results, monkeypatch):
    save, first = np.savez_compressed, []

    def slow(file, **arrays):
        if not first:
            first.append(None)
            records.write(OTHER, RECORD, ARRAYS)
        save(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", slow)
    folder = records.write(OTHER, {"note": "second"}, ARRAYS)
    assert os.listdir(results) == [folder.name]
    assert records.read(OTHER)[0]["note"] == "λ"


@pytest.mark.parametrize(
    "failure, raised",
    [
        (OSError(errno.ENOSPC, "No space left on device"), LotteryError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError("a bug"), ValueError),
    ],
)
def test_a_failing_write_leaves_nothing(results, monkeypatch, failure, raised):
    def fail(file, **_):
        file.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(raised) as error:
        records.write(OTHER, RECORD, ARRAYS)
    assert os.listdir(results) == []
    if raised is LotteryError:
        final = results / records.name(OTHER)
        assert str(error.value) == f"cannot write the record {final}: No space left on device; make its folder writable"


def test_a_results_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "file" / "results")
    with pytest.raises(LotteryError, match=r"cannot write the record .*: Not a directory; make its folder writable"):
        records.write(OTHER, RECORD, ARRAYS)
    assert contents(tmp_path) == {"file": b"kept"}


def test_what_is_still_being_written_is_no_record(results):
    records.write(OTHER, RECORD, ARRAYS)
    (results / ".unfinished-x").mkdir()
    (results / ".unfinished-x" / "record.json").write_text('{"config"')
    assert [record["run"] for record in records.read_all()] == [records.name(OTHER)]


def test_a_missing_record_names_its_command(results):
    with pytest.raises(LotteryError) as error:
        records.read(LogisticConfig(lam=0.5))
    folder = results / records.name(LogisticConfig(lam=0.5))
    assert str(error.value) == f"no record {folder}; make it with: lottery train mnist-logistic -p lam=0.5"
    assert not results.exists()


def test_every_committed_record_has_the_name_of_its_config():
    folders = sorted(path.parent for path in paths.RESULTS.glob("[!.]*/record.json"))
    assert len(folders) > 800
    for folder in folders:
        record = json.loads((folder / "record.json").read_text("utf-8"))
        config = protocols.config_class(record["protocol"])(**record["config"])
        assert records.name(config) == record["run"] == folder.name


@pytest.mark.parametrize("config", [
    LeNet("continuous", 0.2, mask_lr=10.0), LeNet("continuous", 0.2), LeNet(lam=1e-4), LeNet(), LeNet("imp", 0.2),
    LeNet(lam=1e-4, mask_lr=3.0, per_layer=True),
], ids=str)  # fmt: skip
def test_the_command_makes_this_very_run(config):
    words = shlex.split(records.command(config))
    assert params.from_pairs(protocols.config_class(words[2]), words[4::2]) == config


DAMAGES = {"record.json": (b"", b"{", b"\xff\xfe"), "arrays.npz": (b"", b"PK", b"no archive")}


@pytest.mark.parametrize("name, content", [(name, content) for name, all_ in DAMAGES.items() for content in all_])
def test_a_damaged_file_is_named_with_what_to_do(results, name, content):
    folder = records.write(LogisticConfig(), RECORD, ARRAYS)
    (folder / name).write_bytes(content)
    asked = [lambda: records.read(LogisticConfig()), lambda: protocols.train(LogisticConfig())]
    if name == "record.json":
        asked.append(records.read_all)
    for ask in asked:
        with pytest.raises(LotteryError) as error:
            ask()
        said = str(error.value)
        assert said.startswith(f"{folder / name} is damaged (")
        assert said.endswith(f"); delete the folder {folder.name}, and make the run again")


def test_an_archive_cut_short_is_damaged(results):
    folder = records.write(LogisticConfig(), RECORD, {"weights": np.random.default_rng(0).normal(size=4000)})
    whole = (folder / "arrays.npz").read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 4):
        (folder / "arrays.npz").write_bytes(whole[:cut])
        with pytest.raises(LotteryError, match="arrays.npz is damaged"):
            records.read(LogisticConfig())


def test_any_byte_of_an_archive_may_be_wrong(results):
    folder = records.write(LogisticConfig(), RECORD, {"weights": np.arange(9)})
    whole, refused = (folder / "arrays.npz").read_bytes(), 0
    for place in range(len(whole)):
        (folder / "arrays.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        try:
            records.read(LogisticConfig())
        except LotteryError as error:
            assert "arrays.npz is damaged (" in str(error)
            refused += 1
    assert refused > len(whole) / 2
