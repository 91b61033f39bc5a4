"""sweeps.py: what a grid holds, what is made in which order, what it will take, and what survives a kill."""

import contextlib
import itertools
import random
import time

import pytest
from checkout import Checkout, commands
from runs import Tiny

from lottery_lib import files, paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import protocols, records, sweeps, ticket_run
from lottery_lib.experiments.catalogue import METHODS
from lottery_lib.experiments.grids import command, grid, groups_of, trainings
from lottery_lib.experiments.logistic import LogisticConfig
from lottery_lib.experiments.protocols import DigitsLeNet, LeNet
from lottery_lib.training.recipes import Recipe

# Grids.

EMPTY = "holds no runs; give runs at least one row, and over no empty list"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the grid ``tiny``."""
    monkeypatch.setattr(paths, "GRIDS", tmp_path)
    return (tmp_path / "tiny.yaml").write_text


def test_a_grid_lists_its_runs_in_order_in_groups(write):
    write("""
protocol: lenet
over: {seed: [3, 4]}
runs:
  - {method: dense, density: 1}
  - {method: concave, lam: [1e-3, 2.0e-3], eps: null, density: [0.4, 0.2], per_layer: true}
""")
    assert grid("tiny") == [
        group
        for seed in (3, 4)
        for group in (
            [LeNet("dense", 1.0, seed)],
            *(
                [LeNet("concave", density, seed, lam=lam, per_layer=True) for density in (0.4, 0.2)]
                for lam in (1e-3, 2e-3)
            ),  # the last field fastest; a search yields tickets of either density
        )
    ]


def test_only_runs_that_share_trainings_are_a_group(write):
    """Else a process that finds one of a row's runs taken would leave all of them to the other."""
    write(
        "{protocol: lenet, over: {}, runs: [{seed: [0, 1], method: concave, lam: [1e-3, null], density: [0.4, 0.2]}]}"
    )
    runs = {(each.seed, each.lam, each.density) for (each,) in [group for group in grid("tiny") if len(group) == 1]}
    assert runs == {(seed, None, density) for seed in (0, 1) for density in (0.4, 0.2)}  # one calibrated search each
    assert [[(each.seed, each.density) for each in group] for group in grid("tiny") if len(group) > 1] == [
        [(seed, 0.4), (seed, 0.2)] for seed in (0, 1)
    ]


def test_a_grid_may_be_of_any_protocol(write):
    write("{protocol: mnist-logistic, over: {}, runs: [{digits: '4,9', lam: [1, 2]}, {}]}")
    assert grid("tiny") == [[LogisticConfig(digits=(4, 9), lam=lam)] for lam in (1.0, 2.0)] + [[LogisticConfig()]]


def test_a_grid_may_be_of_several_protocols(write):
    write("{protocol: [lenet, digits], over: {seed: [0, 1]}, runs: [{density: 0.2}, {density: 0.1}]}")
    of = itertools.product((0, 1), (LeNet, DigitsLeNet), (0.2, 0.1))
    made = [config(density=density, seed=seed) for seed, config, density in of]
    assert grid("tiny") == [[run] for run in made]
    assert command(["digits"]) == command(["lenet"]) == "lottery sweep tiny"


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{protocol: lenets, over: {}, runs: []}", "unknown protocol 'lenets'; did you mean 'lenet'?"),
        ("{protocol: lenet, over: {}, runs: [{lamda: 1}]}", "unknown parameter 'lamda'; did you mean 'lam'?"),
        ("{protocol: lenet, over: {sed: 1}, runs: [{}]}", "unknown parameter 'sed'; did you mean 'seed'?"),
        ("{protocol: lenet, over: {}, runs: [{lam: high}]}", "lam = 'high': must be a finite number or none"),
        ("{protocol: lenet, over: {}, runs: [{alpha: [0.5, 2]}]}", "alpha = 2.0: must lie in (0, 1]"),
        ("{protocol: lenet, runs: []}", "must hold protocol, over and runs, and nothing else"),
        ("{protocol: lenet, over: {}, runs: [], run: []}", "must hold protocol, over and runs, and nothing else"),
        ("", "must hold protocol, over and runs, and nothing else"),
        ("{protocol: lenet, over: {}, runs: }", "over must map fields to values, and runs must list such maps"),
        ("{protocol: lenet, over: [1], runs: [{}]}", "over must map fields to values, and runs must list such maps"),
        ("{protocol: lenet, over: {}, runs: [dense]}", "over must map fields to values, and runs must list such maps"),
        ("{protocol: lenet, over: {}, runs: []}", EMPTY),
        (
            "{protocol: lenet, over: {}, runs: [{lam: 1, lam: 2}]}",
            "line 1 gives 'lam' again; give it once, as a list of its values",
        ),
        ("{protocol: lenet, over: {seed: []}, runs: [{}]}", EMPTY),
    ],
)
def test_a_mistake_in_a_grid_is_one_sentence_that_names_it(write, text, sentence):
    write(text)
    with pytest.raises(LotteryError) as error:
        grid("tiny")
    assert str(error.value) == f"grid 'tiny': {sentence}"


def test_a_grid_that_is_no_yaml(write):
    write("{protocol: lenet")
    with pytest.raises(LotteryError, match=r"^grid 'tiny': while parsing .* line 1, column 1[^\n]*$"):
        grid("tiny")


def test_an_unknown_grid(write):
    with pytest.raises(LotteryError) as error:
        grid("tiny")
    assert str(error.value) == "there is no grid 'tiny'; known: none"
    write("")
    with pytest.raises(LotteryError) as error:
        grid("tinny")
    assert str(error.value) == "there is no grid 'tinny'; did you mean 'tiny'?"


def test_the_committed_grids_name_no_run_twice():
    grids = {path.stem: grid(path.stem) for path in paths.GRIDS.glob("*.yaml")}
    assert "lenet" in grids
    for name, groups in grids.items():
        names = [records.name(config) for group in groups for config in group]
        assert names and len(set(names)) == len(names), name


def test_part():
    groups = list("abcdefg")
    taken = {"3-5": "cde", "7-7": "g", "1-9": "abcdefg"}
    assert {part: "".join(groups_of(part, groups)) for part in taken} == taken
    for part in ("1/2", "1", "1-", "-2", "a-b", "1-2-3", "", "0-2", "3-2"):
        with pytest.raises(LotteryError) as error:
            groups_of(part, groups)
        assert str(error.value) == f"part {part!r}: must be the groups I-N, as in 3-5, with 1 ≤ I ≤ N"
    with pytest.raises(LotteryError) as error:
        groups_of("8-9", groups)
    assert str(error.value) == "part '8-9': the last group of this grid is 7"


def test_seconds():
    assert [sweeps.seconds(text) for text in ("90s", "9m", "1.5h", "0s")] == [90, 540, 5400, 0]
    for text in ("abc", "9", "m", "-9m", "9 m", "9d", ""):
        with pytest.raises(LotteryError) as error:
            sweeps.seconds(text)
        assert str(error.value) == f"budget {text!r}: must be a time with its unit, as in 90s, 9m or 1.5h"


def test_duration():
    times = {0.4: "0 s", 99: "99 s", 100: "2 min", 5900: "98 min", 6000: "1 h 40 min", 90061: "25 h 1 min"}
    assert {time: sweeps.duration(time) for time in times} == times


# What a run takes.


class Quick(Tiny):
    recipe = Recipe(epochs=2, batch_size=512)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "WORK", tmp_path / "work")


@pytest.mark.parametrize(
    "method", [method for method in METHODS if not method.startswith(("feedback", "frozen"))]
)  # may lose a layer
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"lam": 1e-4},
        {"lam": 1e-4, "rewind_epoch": 1},
        {"rounds": 2},
        {"search_length": 1},
        {"search_images": 0.5, "lam": 1e-4, "rewind_epoch": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:asked for a density")  # so few steps do not come near
def test_the_trainings_of_a_run_are_those_it_makes(folders, method, more):
    try:
        protocol = Quick if more.get("lam") else Tiny  # steps enough to tell two densities apart
        group = [protocol(method, density, **more) for density in ([1.0] if method == "dense" else [0.5, 0.2])]
    except LotteryError:
        pytest.skip("not taken by this method")
    for config in group:
        record, _ = ticket_run.run(config)
        assert sum(trainings(config).values()) == record["total_epochs"]
    made = set().union(*(trainings(config) for config in group))
    assert len(made) == len(list(paths.WORK.rglob("*.safetensors")))  # a file each


def test_runs_that_differ_in_alpha_share_their_search():
    first, second = (trainings(Quick(lam=1e-4, alpha=alpha)).keys() for alpha in (0.1, 0.5))
    assert len(first & second) == 1 and len(first | second) == 3


# The loop, with runs that only take time.


class Clock:
    """Stands still but for runs, which take 3 seconds an epoch."""

    def __init__(self):
        self.now, self.ran, self.said, self.broken = 1000.0, [], [], {}

    def __call__(self):
        return self.now

    def run(self, config, progress):
        self.ran.append(config)
        if config in self.broken:
            raise self.broken[config]
        epochs = sum(trainings(config).values())
        self.now += 3 * epochs
        return {"config": {"precision": config.precision}, "total_epochs": epochs, "seconds": 3.0 * epochs}, {}

    def sweep(self, configs, **options):
        """What failed, and the runs that were made or tried."""
        before = len(self.ran)
        failed = sweeps.loop([[config] for config in configs], say=self.said.append, clock=self, **options)
        return failed, self.ran[before:]


@pytest.fixture
def clock(folders, monkeypatch):
    clock = Clock()
    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Quick, clock.run))
    return clock


DENSE = [Quick("dense", 1.0, seed) for seed in range(4)]  # 2 epochs each
LOG = [Quick("concave", density, lam=1e-4) for density in (0.4, 0.3)]  # 2 of search, shared, and 2 each


def test_runs_are_made_in_order_and_once(clock):
    order = [DENSE[2], *LOG, DENSE[0]]
    assert clock.sweep(order) == ({}, order)
    assert clock.sweep([DENSE[1], *order, DENSE[3]]) == ({}, [DENSE[1], DENSE[3]])
    assert clock.sweep([DENSE[1], DENSE[1]]) == ({}, [])


def test_what_another_process_made_meanwhile_is_passed_over(clock, monkeypatch):
    def run(config, progress):
        if config == DENSE[0]:
            records.write(DENSE[1], *clock.run(DENSE[1], progress))
        return clock.run(config, progress)

    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Quick, run))
    assert clock.sweep(DENSE[:3]) == ({}, [DENSE[1], DENSE[0], DENSE[2]])
    assert clock.said[-1] == "3 of 3 on record"


def test_a_failure_stops_no_other_run(clock, capsys):
    clock.broken = {DENSE[0]: LotteryError("the loss is not finite"), DENSE[2]: RuntimeError("CUDA error:\nno memory")}
    reasons = {DENSE[0]: "the loss is not finite", DENSE[2]: "RuntimeError: CUDA error: no memory"}
    assert clock.sweep(DENSE) == (reasons, DENSE)
    stderr = capsys.readouterr().err
    assert "Traceback" in stderr and "the loss is not finite" not in stderr  # only what nobody foresaw
    clock.broken = {}
    assert clock.sweep(DENSE) == ({}, [DENSE[0], DENSE[2]])


def test_an_interrupt_is_no_failure(clock):
    clock.broken = {DENSE[1]: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        clock.sweep(DENSE)
    assert clock.ran == DENSE[:2]


def test_progress(clock):
    clock.sweep([*DENSE[:2], *LOG])
    commands = [records.command(config) for config in (*DENSE[:2], *LOG)]
    assert clock.said == [
        f"0 of 4 on record: {commands[0]}",  # nothing is known yet
        f"1 of 4 on record, about 24 s left: {commands[1]}",  # 2 + 4 + 2 epochs
        f"2 of 4 on record, about 18 s left: {commands[2]}",
        f"3 of 4 on record, about 6 s left: {commands[3]}",  # the search is made
        "4 of 4 on record",
    ]
    clock.said.clear()
    clock.sweep([*DENSE[:3], Quick("concave", 0.2, lam=1e-4)])
    assert clock.said[0].startswith("2 of 4 on record, about 18 s left: ")  # that search belongs to none of these runs
    clock.broken = {DENSE[3]: LotteryError("no")}
    clock.said.clear()
    clock.sweep(DENSE)
    assert clock.said == [
        f"3 of 4 on record, about 6 s left: {records.command(DENSE[3])}", "  failed: no",
        "3 of 4 on record, about 6 s left",
    ]  # fmt: skip


def test_estimates_are_of_similar_runs_on_this_device(clock, monkeypatch):
    clock.sweep(DENSE)
    known = sweeps.Costs().estimate
    assert known(LOG) == (18, 0) == known(LOG * 2)
    assert known([*LOG, Quick(precision="bf16"), LogisticConfig()]) == (18, 2)
    made = sweeps.Costs(done=LOG[:1]).estimate
    assert made(LOG) == (18, 0)  # no work folder here: brought from elsewhere
    (paths.WORK / "a.safetensors").touch()
    assert sweeps.Costs(done=LOG[:1]).estimate(LOG[1:]) == (6, 0)
    monkeypatch.setattr(sweeps, "provenance", lambda: {"device": "another"})
    assert sweeps.Costs().estimate(LOG) == (0, 2)


def test_what_is_known_of_a_grid_is_told_beside_what_is_not(clock):
    clock.sweep(DENSE)
    left = [*LOG, LogisticConfig()]
    told = sweeps.progress([*DENSE, *left], left, sweeps.Costs(done=DENSE))
    assert told == "4 of 7 on record, about 18 s left, beside 1 run of unknown length"


def test_a_run_that_has_no_epochs_takes_what_others_of_its_protocol_took(clock, monkeypatch):
    monkeypatch.setitem(
        protocols.PROTOCOLS, "mnist-logistic", (LogisticConfig, lambda *_: ({"config": {}, "seconds": 7.0}, {}))
    )
    clock.sweep([LogisticConfig(seed=1)])
    left = [LogisticConfig(seed=2), LogisticConfig(seed=3)]
    assert sweeps.Costs().estimate(left) == (14, 0) == sweeps.Costs().estimate(left * 2)


def test_within_a_budget(clock):
    assert clock.sweep(DENSE, budget=0) == ({}, [])
    assert clock.sweep([*DENSE[:3], *LOG], budget=13)[1] == DENSE[:2]  # one second is left of it
    assert clock.said[-1] == "2 of 5 on record, about 24 s left"
    long = Quick("concave", rounds=5, lam=1e-4)  # 12 epochs
    assert clock.sweep([long, *DENSE[2:]], budget=12)[1] == DENSE[2:]  # what fits goes before what does not
    assert clock.sweep([long], budget=36)[1] == [long]


def test_a_run_of_unknown_cost_is_started_while_there_is_time(clock):
    assert clock.sweep(DENSE, budget=1)[1] == DENSE[:1]


# Several processes.


def test_a_group_that_another_process_is_at_is_passed_over_and_looked_at_again(clock, monkeypatch):
    other = contextlib.ExitStack()
    lock = paths.WORK / "locks" / f"{records.name(LOG[0])}.lock"

    def run(config, progress):
        if config == DENSE[1]:
            other.close()  # the other process was killed
        return clock.run(config, progress)

    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Quick, run))
    assert other.enter_context(files.locked(lock))
    assert sweeps.loop([LOG, [DENSE[0]], [DENSE[1]]], say=clock.said.append) == {}
    assert clock.ran == [*DENSE[:2], *LOG] and clock.said[-1] == "4 of 4 on record"

    other.enter_context(files.locked(paths.WORK / "locks" / f"{records.name(DENSE[2])}.lock"))
    assert clock.sweep(DENSE[2:]) == ({}, [DENSE[3]])
    assert clock.said[-2:] == [
        f"0 of 2 on record, about 6 s left by 2 processes: {records.command(DENSE[3])}",
        "1 of 2 on record, about 6 s left",
    ]


def test_asking_who_is_at_work_leaves_no_lock_of_a_run_that_was_made_meanwhile(clock):
    clock.sweep(DENSE[:1])
    lock = paths.WORK / "locks" / f"{records.name(DENSE[0])}.lock"
    lock.touch()
    assert sweeps.at_work(DENSE[:2]) == 0 and not lock.exists()


def test_what_another_process_saw_fail_is_not_tried_again(clock, monkeypatch):
    def run(config, progress):
        if config == DENSE[0]:
            time.sleep(0.02)  # files are dated to some milliseconds
            assert list(clock.sweep([DENSE[1]])[0].values()) == ["out of luck"]  # another process, meanwhile
        return clock.run(config, progress)

    monkeypatch.setitem(protocols.PROTOCOLS, "tiny", (Quick, run))
    clock.broken = {DENSE[1]: LotteryError("out of luck")}
    assert clock.sweep(DENSE[:3]) == ({DENSE[1]: "out of luck"}, [DENSE[1], DENSE[0], DENSE[2]])
    clock.broken = {}
    assert clock.sweep(DENSE[:3]) == ({}, [DENSE[1]]) and not list(paths.WORK.glob("locks/*"))


def test_several_processes_make_each_run_once(tmp_path):
    checkout = Checkout(tmp_path, [0, 1], [0.5, 0.2])
    running = [checkout.start() for _ in range(3)]
    ended = [process.communicate() for process in running]
    assert [(process.returncode, stderr) for process, (_, stderr) in zip(running, ended)] == [(0, "")] * 3
    started = [command for stdout, _ in ended for command in commands(stdout)]
    assert len(started) == len(set(started)) == checkout.runs == len(checkout.recorded())
    assert not list(tmp_path.glob("_work/locks/*"))


# Killed with -9.


def test_a_sweep_of_200_runs_killed_three_times(tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"kills drawn from seed {seed}")
    draw = random.Random(seed)
    seeds, densities = list(range(10)), [0.6, 0.5, 0.4, 0.3, 0.2]
    killed, whole = (Checkout(tmp_path / name, seeds, densities) for name in ("killed", "whole"))
    assert killed.runs == 200
    undisturbed = whole.start()

    started = []
    for _ in range(3):
        before = killed.recorded()
        started.append(commands(killed.killed(draw.randint(1, 60), draw.uniform(0, 0.3))))
        assert before < killed.recorded()
    code, stdout, stderr = killed.sweep()
    assert (code, stderr) == (0, "") and stdout.splitlines()[-1] == "200 of 200 on record"
    started.append(commands(stdout))

    stdout, stderr = undisturbed.communicate()
    assert (undisturbed.returncode, stderr) == (0, "")
    order = commands(stdout)
    assert len(set(order)) == len(order) == 200 == len(whole.recorded())
    # One run a kill was under way and is started again; between its record and the next line, it may just be finished.
    resumed = [command for part in started for command in part]
    assert sorted(set(resumed)) == sorted(order) and len(resumed) <= 203
    assert [command for at, command in enumerate(resumed) if command not in resumed[:at]] == order
    assert killed.contents() == whole.contents()


def test_a_whole_grid_is_made_by_a_process_a_core(tmp_path, monkeypatch):
    """Unless the number of threads is given, or it is a part: then by this process."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sweeps.os, "cpu_count", lambda: 6)
    monkeypatch.setattr(sweeps, "grid", lambda name: [["a"], ["b"], ["c"], ["done"]])
    monkeypatch.setattr(sweeps.records, "exists", lambda config: config == "done")
    monkeypatch.setattr(sweeps, "loop", lambda groups, limit: dict.fromkeys(sum(groups, []), "by this process"))
    started, codes = [], [0, 0, 0]

    class Child:
        def __init__(self, command, env):
            started.append((command[command.index("sweep") + 1 :], env["OMP_NUM_THREADS"]))

        def wait(self):
            return codes[len(started) - 1]

    monkeypatch.setattr(sweeps.subprocess, "Popen", Child)
    assert sweeps.run("tiny", budget="9m") == {}
    assert started == [(["tiny", "--budget", "9m"], "2")] * 3
    codes[-1] = 1
    del started[:]
    with pytest.raises(LotteryError, match="not all runs were made; the reasons stand above"):
        sweeps.run("tiny")
    assert list(sweeps.run("tiny", part="2-3")) == ["b", "c"]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(sweeps.run("tiny")) == ["a", "b", "c", "done"] and len(started) == 3


def test_two_processes_make_a_grid(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    checkout = Checkout(tmp_path, [0], [0.5, 0.2])
    process = checkout.start(threads=None)
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "") and len(checkout.recorded()) == checkout.runs
