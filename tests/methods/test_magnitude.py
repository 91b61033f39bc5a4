"""methods/magnitude.py against the same steps written out by hand."""

import re

import numpy as np
import pytest
import torch
from toy import LEAST, convnet, copied, digits, find, lenet, same_bits, same_values

from lottery_lib import masks
from lottery_lib.errors import LotteryError
from lottery_lib.methods import magnitude
from lottery_lib.relaxation import FixedMask
from lottery_lib.training.loop import train

ROUNDS = (0.6, 0.4, 0.2)


def dense(make=lenet, epochs=None):
    model = make()
    train(model, digits(), LEAST["recipe"], stop=epochs)
    return copied(model.state_dict())


def best(scores, names, k, alive=None):
    """The k highest of the scores, by numpy, as a mask."""
    flat = np.concatenate([scores[name].numpy().ravel() for name in names])
    if alive is not None:
        flat = np.where(np.concatenate([alive[name].numpy().ravel() for name in names]), flat, -np.inf)
    cut = np.sort(flat)[-k]
    return {name: torch.from_numpy(scores[name].numpy() >= cut) & (alive[name] if alive else True) for name in names}


@pytest.mark.parametrize("make", [lenet, convnet])
@pytest.mark.parametrize("score", ["magnitude", "increase"])
def test_one_shot_keeps_what_is_large_after_a_dense_training(score, make):
    ticket = find("one-shot", make(), score=score)
    start, end = copied(make().state_dict()), dense(make)
    scores = {
        name: end[name].abs() if score == "magnitude" else end[name] ** 2 - start[name] ** 2 for name in ticket.mask
    }
    size = sum(mask.numel() for mask in ticket.mask.values())
    assert same_bits(ticket.mask, best(scores, ticket.mask, round(0.2 * size)))
    assert same_bits(ticket.rewind, start)


@pytest.mark.parametrize("score", ["size", ["magnitude"]])
def test_an_unknown_score_is_refused(score):
    with pytest.raises(LotteryError, match=f"^unknown score {re.escape(repr(score))}; known: magnitude, increase$"):
        magnitude.Config(score=score)


def test_the_two_scores_differ():
    assert masks.digest(find("one-shot").mask) != masks.digest(find("one-shot", score="increase").mask)


@pytest.mark.parametrize("rewind_epoch", [0, 1])
@pytest.mark.parametrize("score", ["magnitude", "increase"])
def test_iterative_pruning_rewinds_and_trains_what_is_left(score, rewind_epoch):
    ticket = find("one-shot", rounds=ROUNDS, rewind_epoch=rewind_epoch, score=score)
    start = dense(epochs=rewind_epoch)
    mask = masks.ones(lenet())
    for density in ROUNDS:
        model = lenet()
        model.load_state_dict(start)
        rule = FixedMask(model, mask)
        train(model, digits(), LEAST["recipe"], parameterization=rule, start=rewind_epoch)
        end = copied(model.state_dict())
        scores = {n: end[n].abs() if score == "magnitude" else end[n].square() - start[n].square() for n in mask}
        smaller = best(scores, mask, round(density * 2320), mask)
        assert all((mask[name] | ~smaller[name]).all() for name in mask)
        mask = smaller
    assert same_bits(ticket.mask, mask) and same_bits(ticket.rewind, start)


@pytest.mark.parametrize("rewind_epoch", [0, 1])
def test_learning_rate_rewinding_goes_on_with_trained_weights(rewind_epoch):
    model = lenet()
    ticket = find("lr-rewinding", model, rounds=ROUNDS, rewind_epoch=rewind_epoch)
    plain, mask = lenet(), masks.ones(lenet())
    train(plain, digits(), LEAST["recipe"], stop=rewind_epoch)
    for density in ROUNDS:
        train(plain, digits(), LEAST["recipe"], parameterization=FixedMask(plain, mask), start=rewind_epoch)
        end = copied(plain.state_dict())
        mask = best({name: end[name].abs() for name in mask}, mask, round(density * 2320), mask)
    assert same_bits(ticket.mask, mask) and same_values(ticket.rewind, end)
    assert same_values(
        copied(model.state_dict()), {name: value * mask[name] if name in mask else value for name, value in end.items()}
    )
