"""conservation.py and induced.py: what a step conserves, what breaks it, and how trained weights are split."""

import pytest
import torch

from lottery_lib.regularizers import create
from lottery_lib.theory import conservation
from lottery_lib.theory.conservation import Walk
from lottery_lib.theory.induced import induced


def changed(walk: Walk, steps: float = 20) -> torch.Tensor:
    """By how much a walk has changed m²/η_m − θ²/η, each weight, in units of the squares at the start."""
    state = conservation.start()
    before, scale = state.conserved(), state.scale()
    for _ in conservation.descend(state, walk, steps):
        pass
    return (state.conserved() - before) / scale


def test_shorter_steps_conserve_it_better_in_proportion():
    sizes = [changed(Walk(shorter=shorter)).abs().mean() for shorter in (8, 16, 32)]
    assert sizes[0] / sizes[1] == pytest.approx(2, rel=0.1) and sizes[1] / sizes[2] == pytest.approx(2, rel=0.1)


def test_the_penalty_takes_and_decay_gives_as_the_flow_says():
    """m²/η_m falls at the rate 2λ m r′(m) of a step, and −θ²/η rises at 2µθ²: at first, as m = 1 and θ as it starts."""
    state, once = conservation.start(), 1 / 1000  # one short step
    plain = changed(Walk(shorter=1000), once)
    rates = {"lam": -2 * create("log").slope(1), "weight_decay": 2 * torch.cat([t.flatten() for t in state.theta]) ** 2}
    for name, rate in rates.items():
        found = changed(Walk(shorter=1000, **{name: 1e-4}), once) - plain
        expected = once * 1e-4 * rate / state.scale()
        assert ((found - expected).abs() <= 0.05 * expected.abs()).double().mean() > 0.95


def test_the_box_takes():
    assert changed(Walk(project=True, shorter=16)).mean() < -0.01 < changed(Walk(shorter=16)).mean()


def test_every_walk_is_told():
    found = conservation.drift(steps=30)
    assert list(found.walk.unique()) == list(conservation.WALKS)
    ends = found.groupby("walk").drift.last()
    assert ends["steps a tenth as long"] < ends["full batch"] < ends["projection"] < ends["all of them"]
    starts = found[found.time == 0]
    assert len(starts) == len(conservation.WALKS) and (starts.drift == 0).all() and starts.loss.nunique() == 1


def test_walks_of_one_seed_are_alike():
    states = [conservation.start(3) for _ in range(2)]
    for state in states:
        for _ in conservation.descend(state, Walk(batch=32), 10, seed=3):
            pass
    assert torch.equal(states[0].conserved(), states[1].conserved())


@pytest.mark.parametrize("penalty", ["l1", "log"])
def test_a_trained_network_splits_its_weights_nearly_as_cheaply_as_can_be(penalty):
    found = conservation.splits(penalty, steps=200)
    best = induced(create(penalty), torch.tensor(found.u.to_numpy()))[1].numpy()
    assert len(found) > 50 and (found.m - best).abs().median() < 0.1
    shuffled = found.m.sample(frac=1, random_state=0).to_numpy()
    assert abs(shuffled - best).mean() > 2 * (found.m - best).abs().mean()
