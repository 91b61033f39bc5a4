"""methods/concave.py: what is kept of a relaxed mask, and what λ, α, the penalty and rounds do."""

import pytest
import torch
from toy import LEAST, copied, digits, find, lenet, same_bits

from lottery_lib import masks, regularizers, weights
from lottery_lib.errors import LotteryError
from lottery_lib.methods import concave, geometric
from lottery_lib.relaxation import RelaxedMask
from lottery_lib.training.loop import train


def learned(regularizer="log", lam=1e-4, mask_lr=10.0, shape=None, within=None):
    """m and θ at the end of one relaxed training, without the method."""
    model = lenet()
    penalty = regularizers.create(regularizer, shape)
    rule = RelaxedMask(model, weights.prunable(model), penalty, lam, mask_lr, within)
    train(model, digits(), LEAST["recipe"], parameterization=rule)
    return dict(zip(rule.names, rule.m)), copied(dict(zip(rule.names, rule.theta)))


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def by_hand(m, theta, k):
    """Positions of the k largest m, those of larger ``|θ|`` first where m is equal."""
    value, size = flat(m).tolist(), flat(theta).abs().tolist()
    return sorted(sorted(range(len(value)), key=lambda i: (-value[i], -size[i]))[:k])


@pytest.mark.parametrize("fields", [{}, {"regularizer": "l1"}, {"shape": 1.0}, {"lam": 1e-3}, {"mask_lr": 3.0}])
def test_the_largest_mask_entries_are_kept_and_ties_go_to_larger_weights(fields):
    m, theta = learned(**fields)
    ticket = find("concave", **fields)
    assert same_bits(ticket.relaxed, m)
    assert flat(ticket.mask).nonzero().squeeze(1).tolist() == by_hand(m, theta, round(0.2 * len(flat(m))))


def test_every_option_of_the_penalty_changes_the_mask():
    options = [{}, {"regularizer": "l1"}, {"shape": 1.0}, {"lam": 1e-3}, {"mask_lr": 3.0}, {"seed": 1}]
    relaxed = [find("concave", **fields).relaxed for fields in options]
    assert all(not same_bits(a, b) for i, a in enumerate(relaxed) for b in relaxed[:i])


def test_a_penalty_goes_by_its_name():
    with pytest.raises(LotteryError, match="^regularizer is of type list; must be a name, as 'log'$"):
        concave.Config(regularizer=["log"])


def test_rank_orders_by_m_and_then_by_the_size_of_theta():
    m = {"a": torch.tensor([0.0, 1.0, 0.5]), "b": torch.tensor([1.0, 0.0, 0.50001])}
    theta = {"a": torch.tensor([0.1, -3.0, 9.0]), "b": torch.tensor([2.0, -0.2, 0.0])}
    order = flat(concave.rank(m, theta)).argsort(descending=True).tolist()
    assert order == [1, 3, 5, 2, 4, 0]
    zero = concave.rank(m, {name: torch.zeros(3) for name in theta})
    assert flat(zero).tolist() == flat(m).double().tolist()


def test_alpha_keeps_what_reaches_it_and_is_top_k_at_that_density():
    m, _ = learned(lam=1e-3)
    for alpha in (0.3, 0.9):
        ticket = find("concave", lam=1e-3, alpha=alpha)
        kept = int((flat(m) >= alpha).sum())
        assert 0 < kept < len(flat(m)) and ticket.density == kept / len(flat(m)) != 0.2
        assert all(torch.equal(mask, m[name] >= alpha) for name, mask in ticket.mask.items())
        exact = find("concave", lam=1e-3, density=ticket.density)
        assert masks.digest(exact.mask) == masks.digest(ticket.mask)


def test_a_higher_price_leaves_fewer_entries():
    alive = [int((flat(find("concave", lam=lam).relaxed) > 0).sum()) for lam in (1e-4, 1e-3, 1e-2)]
    assert alive[0] > alive[1] > alive[2]


def test_each_round_starts_within_the_last_mask(monkeypatch):
    within, original = [], RelaxedMask.__init__

    def spied(self, *args, **kwargs):
        within.append(copied(kwargs["within"]))
        original(self, *args, **kwargs)

    monkeypatch.setattr(RelaxedMask, "__init__", spied)
    densities = geometric(0.1, 3)
    ticket = find("concave", density=0.1, rounds=densities)
    found = [*within, ticket.mask]
    size = len(flat(ticket.mask))
    assert [int(flat(mask).sum()) for mask in found] == [round(d * size) for d in (1.0, *densities)]
    assert all((flat(earlier) | ~flat(later)).all() for earlier, later in zip(found, found[1:]))
    assert not flat(ticket.relaxed)[~flat(within[-1])].any()  # the last round's values
    monkeypatch.undo()
    m, theta = learned(within=within[-1])
    assert same_bits(ticket.relaxed, m)
    assert flat(ticket.mask).nonzero().squeeze(1).tolist() == by_hand(m, theta, round(0.1 * size))


def test_alpha_ends_the_last_round_only():
    ticket = find("concave", lam=1e-3, rounds=(0.5, 0.2), alpha=0.5)
    assert torch.equal(flat(ticket.mask), flat(ticket.relaxed) >= 0.5)
    assert (flat(ticket.relaxed) > 0).sum() <= round(0.5 * len(flat(ticket.mask)))


def test_a_layer_by_layer_ranking_is_that_of_each_layer():
    m, theta = learned()
    ticket = find("concave", per_layer=True)
    for name, mask in ticket.mask.items():
        expected = by_hand({name: m[name]}, {name: theta[name]}, round(0.2 * mask.numel()))
        assert mask.flatten().nonzero().squeeze(1).tolist() == expected


def said(warned):
    return [str(warning.message) for warning in warned if "so it does not tell what to keep" in str(warning.message)]


@pytest.mark.parametrize(
    "fields, what, change",
    [
        ({"lam": 0.0, "mask_lr": 0.0}, "no entry of the mask has moved from 1", "raise λ or η_m, or train longer"),
        (
            {"lam": 10.0, "mask_lr": 1.0},
            "no entries of the mask are above 0, and 464 are to be kept",
            "lower λ or η_m",
        ),
    ],
)
def test_a_mask_that_never_moved_or_died_says_what_to_change(fields, what, change):
    with pytest.warns(UserWarning) as warned:
        find("concave", **fields)
    setting = f"after 27 steps with λ = {fields['lam']:g} and η_m = {fields['mask_lr']:g}"
    assert said(warned) == [f"{setting}, {what}, so it does not tell what to keep; {change}"]


def test_a_mask_that_decides_says_nothing(recwarn):
    find("concave", lam=1e-4)
    find("concave", lam=1e-3, alpha=0.5, mask_lr=20.0, allow_empty_layers=True)  # fewer than the density, as α says
    assert said(recwarn) == []
