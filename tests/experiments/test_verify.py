"""verify.py: a record is made again in a process of its own; what was changed by hand is found, and said."""

import copy
import json
import math
import subprocess

import numpy as np
import pytest

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols, records, verify
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.experiments.protocols import DigitsLeNet

TICKET = DigitsLeNet("random", 0.2)
RUNS = [
    TICKET, DigitsLeNet("dense", 1.0), DigitsLeNet(density=0.2),
    *(LogisticConfig(dataset="digits", iterations=40, lam=lam) for lam in (0.1, 0.2)),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Records of digits, made here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "WORK"):
            patch.setattr(paths, name, tmp_path_factory.mktemp(name))
        for run in RUNS:
            protocols.train(run)
        yield paths.RESULTS


@pytest.fixture
def said(made):
    """``said(config, arrays={}, **fields)``: what is said if the record had these fields, and had come out as it is."""

    def compared(config, arrays=None, **fields):
        record, stored = records.read(config)
        outcome = verify.compare(copy.deepcopy(record) | fields, stored | (arrays or {}), record, stored)
        assert not outcome.same
        return outcome.said

    return compared


def test_a_sample_of_five_has_the_same_bits(made):
    found = [verify.verify(run) for run in verify.sample(5)]
    assert len(found) == 5 and all(outcome.same and outcome.said == "same bits" for outcome in found)


def test_a_number_that_did_not_come_out_is_found(said):
    assert said(TICKET, test_accuracy=12.34).startswith("same ticket, another accuracy by ")
    assert "on record 12.34 %); though it was made with the same software" in said(TICKET, test_accuracy=12.34)
    history = copy.deepcopy(records.read(TICKET)[0]["history"])
    history[3]["loss"] += 1e-12
    assert said(TICKET, history=history).startswith("same ticket, same accuracy within 0.00 points ")
    assert said(DigitsLeNet("dense", 1.0), val_accuracy=1.0).startswith("no ticket, same accuracy within ")
    made = records.read(TICKET)[0]
    accuracy, images = made["test_accuracy"], made["images"]["test"]
    error = math.sqrt(2 * accuracy * (100 - accuracy) / images)  # of a difference
    assert "same accuracy within" in said(TICKET, test_accuracy=accuracy - 1.5 * error)
    assert "another accuracy by" in said(TICKET, test_accuracy=accuracy - 3 * error)
    assert said(RUNS[-1], lipschitz=1.0).startswith("other numbers; ")


def test_a_record_that_does_not_count_its_images_says_both_accuracies(made):
    record, arrays = records.read(TICKET)
    del record["images"]
    told = verify.compare(record | {"test_accuracy": 12.34}, arrays, record, arrays).said
    assert told.startswith(f"same ticket, accuracy {record['test_accuracy']:.2f} %, on record 12.34 %")


@pytest.mark.parametrize("before, now", [(100.0, 99.72), (99.72, 100.0), (0.0, 0.28), (0.28, 0.0)])
def test_one_image_is_no_other_accuracy_at_either_end(made, before, now):
    record, arrays = records.read(TICKET)
    told = verify.compare(record | {"test_accuracy": before}, arrays, record | {"test_accuracy": now}, arrays).said
    assert "same accuracy within 0.28 points" in told


def test_another_ticket_is_found_and_measured(said):
    mask = np.roll(records.read(TICKET)[1]["mask"], 1)
    assert " % of its weights differ, same accuracy within " in said(TICKET, {"mask": mask}, mask_sha256="0" * 64)
    assert said(TICKET, {"histogram": np.zeros(3)}).startswith("same ticket, ")


def test_what_time_it_took_and_what_records_did_not_tell_then_is_no_difference(made):
    record, arrays = records.read(TICKET)
    older = {key: value for key, value in record.items() if key != "layers"} | {"seconds": 1e9}
    older["history"] = [epoch | {"seconds": 0.0} for epoch in record["history"]]
    assert verify.compare(older, arrays, record, arrays).same


def test_what_is_no_number_is_the_same_where_it_is_none_again():
    record, arrays = {"run": "x", "loss": [1.0, math.nan]}, {"error": np.array([1.0, np.nan])}
    assert verify.compare(record, arrays, *copy.deepcopy((record, arrays))).same


def test_what_was_made_elsewhere_is_said(said):
    made = records.read(TICKET)[0]["provenance"] | {"torch": "1.0", "device": "abacus"}
    found = said(TICKET, val_accuracy=1.0, provenance=made)
    assert "it was made with torch 1.0, here " in found and "device abacus, here " in found
    here = records.read(TICKET)[0]["provenance"]
    older = here | {"device": here["device"].partition(" (")[0]}  # the vectors that a device had were made equal
    assert "though it was made with the same software" in said(TICKET, val_accuracy=1.0, provenance=older)


@pytest.fixture
def changed(made):
    """``changed(**made)``: the name of a run, the provenance of its record changed by hand until the test is over."""
    path = records.folder(TICKET) / "record.json"
    before = path.read_text()

    def change(**fields):
        record = json.loads(before)
        path.write_text(json.dumps(record | {"provenance": record["provenance"] | fields}))
        return record["run"]

    yield change
    path.write_text(before)


def test_vectors_that_this_machine_lacks_are_named(changed, monkeypatch):
    run = changed(vectors="AVX512")
    monkeypatch.setattr(verify.arithmetic, "here", lambda: "AVX2")
    with pytest.raises(LotteryError, match=f"^{run} was made with AVX512, and this machine has AVX2 only"):
        verify.verify(run)


def test_a_record_of_a_gpu_is_left_to_a_machine_with_one(changed, monkeypatch):
    run = changed(vectors="CUDA", device="H")
    monkeypatch.setattr(verify.torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        LotteryError, match=rf"^{run} was made on a GPU \(H\), and here is none; verify it where there is"
    ):
        verify.verify(run)


def test_a_record_is_made_with_its_own_vectors_and_threads(changed, monkeypatch):
    run, seen = changed(vectors="DEFAULT", threads=2), {}

    def ran(command, env, **options):
        seen.update(env)
        return subprocess.CompletedProcess(command, 1, "", "lottery_lib.errors.LotteryError: no luck")

    monkeypatch.setattr(verify.subprocess, "run", ran)
    with pytest.raises(LotteryError, match=f"^{run} could not be made again: LotteryError: no luck$"):
        verify.verify(run)
    assert (seen["ATEN_CPU_CAPABILITY"], seen["OMP_NUM_THREADS"]) == ("default", "2")
    assert seen["CUDA_VISIBLE_DEVICES"] == ""


def test_a_record_may_be_named_by_its_folder(made):
    assert verify.verify(str(records.folder(TICKET))).same


def test_unknown_names():
    with pytest.raises(LotteryError, match="^no record 'lenet-x'; it must be the name of a folder in "):
        verify.verify("lenet-x")
    with pytest.raises(LotteryError, match="^no record of lenet-half; make one with: lottery train lenet-half$"):
        verify.sample(1, "lenet-half")
    with pytest.raises(LotteryError, match="^no record of lnet; did you mean 'lenet'"):
        verify.sample(3, "lnet")


def test_a_sample_is_of_records_that_this_machine_can_make(made, monkeypatch):
    """Half of those drawn failed, as they were made with more than there is."""
    monkeypatch.setattr(verify, "_lacking", lambda run, provenance: "" if run.startswith("digits-") else f"not {run}")
    assert {run.partition("-")[0] for run in verify.sample(99)} == {"digits"}
    monkeypatch.setattr(verify, "_lacking", lambda run, provenance: f"not {run}")
    with pytest.raises(LotteryError, match="^not digits-"):
        verify.sample(3, "digits")


def test_a_sample_is_of_one_protocol_and_reaches_every_record(made):
    drawn = [verify.sample(2, "digits") for _ in range(200)]
    assert all(len(set(runs)) == 2 and all(run.startswith("digits-") for run in runs) for runs in drawn)
    assert {run for runs in drawn for run in runs} == set(verify.sample(99, "digits"))
    assert len(verify.sample(99)) == len(RUNS)
