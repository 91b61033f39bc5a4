"""methods/controls.py: what a control keeps of the ticket it is made from, and what it changes."""

import pytest
import torch
from torch import nn
from toy import RECIPE, Dropping, convnet, copied, digits, find, lenet, retrained, same_bits, same_values

from lottery_lib import masks, weights
from lottery_lib.errors import LotteryError
from lottery_lib.methods import controls
from lottery_lib.training.loop import train


def kept(ticket):
    return [int(mask.sum()) for mask in ticket.mask.values()]


def test_random_masks_are_drawn_from_the_seed_over_all_weights():
    tickets = [find("random", density=0.1, seed=seed) for seed in (0, 0, 1)]
    assert masks.digest(tickets[0].mask) == masks.digest(tickets[1].mask) != masks.digest(tickets[2].mask)
    assert all(sum(kept(ticket)) == 232 for ticket in tickets)
    assert len({tuple(kept(ticket)) for ticket in (tickets[0], tickets[2])}) == 2  # layers get their share by chance
    assert not same_bits(tickets[0].mask, masks.random(lenet(), 0.1, 0))  # not the draw of any other use of the seed


def test_random_masks_layer_by_layer_have_the_density_in_each_and_differ():
    ticket = find("random", density=0.1, per_layer=True, seed=1)
    assert kept(ticket) == [round(0.1 * mask.numel()) for mask in ticket.mask.values()]
    equal = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(2)))
    first, second = find("random", equal, density=0.1, per_layer=True).mask.values()
    assert not torch.equal(first, second)


def test_random_tickets_rewind_to_the_initial_or_an_early_state():
    early = lenet()
    train(early, digits(), RECIPE, stop=1)
    assert same_bits(find("random").rewind, copied(lenet().state_dict()))
    assert same_bits(find("random", rewind_epoch=1).rewind, copied(early.state_dict()))


def test_shuffled_keeps_the_counts_and_the_rewind_state():
    ticket = find("concave", convnet())
    shuffled = controls.shuffled(ticket, seed=2)
    assert kept(shuffled) == kept(ticket) and same_bits(shuffled.rewind, ticket.rewind)
    for name, mask in shuffled.mask.items():
        assert not torch.equal(mask, ticket.mask[name])
    assert shuffled.relaxed is None and ticket.relaxed is not None
    assert same_bits(controls.shuffled(ticket, seed=2).mask, shuffled.mask)
    assert not same_bits(controls.shuffled(ticket, seed=3).mask, shuffled.mask)
    model = convnet(1)
    shuffled.apply(model)
    assert torch.equal(model.get_parameter("features.0.weight") != 0, shuffled.mask["features.0.weight"])


@pytest.mark.parametrize("rewind_epoch", [0, 1])
def test_reinitialised_keeps_the_mask_and_draws_other_weights(rewind_epoch):
    model = convnet()
    ticket = find("one-shot", model, rewind_epoch=rewind_epoch)
    fresh = controls.reinitialised(ticket, model, seed=2)
    assert same_bits(fresh.mask, ticket.mask) and fresh.state_sha256 != ticket.state_sha256
    drawn = convnet()
    weights.initialize(drawn, 2 + controls.SHIFT)
    assert same_bits(fresh.rewind, copied(drawn.state_dict()))  # statistics of the rewound state are gone too
    for name in weights.prunable(model):
        assert not torch.equal(fresh.rewind[name], ticket.rewind[name])
        assert not torch.equal(fresh.rewind[name], convnet(2).state_dict()[name])  # nor those of the seed itself
    expected = {name: t * fresh.mask[name] if name in fresh.mask else t for name, t in fresh.rewind.items()}
    assert same_values(copied(model.state_dict()), expected)
    again = controls.reinitialised(ticket, convnet(5), seed=2)  # whatever the model held
    assert same_bits(again.rewind, fresh.rewind)
    assert not same_bits(controls.reinitialised(ticket, convnet(), seed=3).rewind, fresh.rewind)


class Shifted(nn.Module):
    """Holds a parameter that ``weights.initialize`` does not draw."""

    def __init__(self, value):
        super().__init__()
        self.read, self.shift = lenet(), nn.Parameter(torch.full((1, 1, 8, 8), value))

    def forward(self, images):
        return self.read(images + self.shift)


def test_reinitialised_keeps_what_is_not_drawn():
    ticket = find("random", Shifted(0.5))
    assert (controls.reinitialised(ticket, Shifted(9.0)).rewind["shift"] == 0.5).all()


def test_a_weight_of_one_entry_is_drawn_without_deviation():
    """It became NaN."""
    model = nn.ParameterDict({"scale": torch.full((1, 1), 2.0)})
    weights.redraw(model, ["scale"], seed=0)
    assert model["scale"] == 2


def test_another_network_is_refused_and_left_alone():
    model = convnet()
    before = copied(model.state_dict())
    with pytest.raises(LotteryError, match="^wrong architecture: where the ticket has 'fc1.weight'"):
        controls.reinitialised(find("random"), model)
    assert same_bits(copied(model.state_dict()), before)


def test_drawing_anew_leaves_the_generators_of_gpus_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("they were seeded"))
    weights.redraw(lenet(), ["fc1.weight"], seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_a_seed_that_is_none_leaves_the_model_alone(seed):
    ticket, model = find("random", convnet()), convnet(1)
    before = copied(model.state_dict())
    for control, given in ((controls.reinitialised, [model]), (controls.shuffled, [])):
        with pytest.raises(LotteryError, match=f"^seed = {seed}: must be a whole number"):
            control(ticket, *given, seed=seed)
    assert same_bits(copied(model.state_dict()), before)


class Recurrent(nn.Module):
    """Layers of every kind that ``weights.initialize`` leaves to themselves."""

    def __init__(self):
        super().__init__()
        self.lstm, self.attention = nn.LSTM(8, 16, batch_first=True), nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm, self.scale, self.read = nn.LayerNorm(16), Conv1D(), nn.Linear(16, 10)

    def forward(self, images):
        hidden, _ = self.lstm(images.squeeze(1))
        return self.read(self.norm(self.scale(self.attention(hidden, hidden, hidden)[0])).mean(1))


class Conv1D(nn.Module):
    """As Hugging Face's: it has no ``reset_parameters``."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(16, 16))

    def forward(self, inputs):
        return inputs @ self.weight


def test_reinitialised_draws_recurrent_and_attention_weights_as_their_layers_do():
    torch.manual_seed(0)
    model = Recurrent()
    ticket = find("random", model, density=0.5)
    drawn = torch.get_rng_state()
    fresh = [controls.reinitialised(ticket, model, seed=seed).rewind for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert same_bits(fresh[0], fresh[1])
    for name in ("lstm.weight_hh_l0", "attention.in_proj_weight", "attention.out_proj.weight", "scale.weight"):
        assert name in ticket.mask
        assert (fresh[0][name] != ticket.rewind[name]).all() and (fresh[0][name] != fresh[2][name]).all()
    assert fresh[0]["lstm.weight_hh_l0"].abs().max() <= 16**-0.5 < 1.05 * fresh[0]["lstm.weight_hh_l0"].abs().max()
    assert fresh[0]["scale.weight"].std() == pytest.approx(0.02, rel=0.15)
    assert (fresh[0]["norm.weight"] == 1).all()


def test_controls_of_a_trained_ticket_are_not_trained_themselves():
    """They came back from ``retrain`` as they were drawn, with no epochs."""
    model = lenet()
    ticket = find("gradual", model, density=0.5)
    for control in (controls.shuffled(ticket), controls.reinitialised(ticket, model)):
        assert len(retrained(model, control).epochs) == RECIPE.epochs
    assert retrained(model, ticket).epochs == []


def test_controls_can_be_saved(tmp_path):
    model = Dropping()
    ticket = find("concave", model)
    for control in (controls.shuffled(ticket), controls.reinitialised(ticket, model)):
        control.save(tmp_path / "ticket.safetensors")
        assert same_bits(type(control).load(tmp_path / "ticket.safetensors").mask, control.mask)
