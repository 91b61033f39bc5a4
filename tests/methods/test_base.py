"""methods/base.py: configs, what a search costs, empty layers, and the retraining."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toy import (
    ITERATIVE,
    LEAST,
    RECIPE,
    SEARCHES,
    convnet,
    copied,
    digits,
    find,
    lenet,
    retrained,
    same_bits,
    same_values,
    timeless,
)

from lottery_lib import masks, methods, tickets, weights
from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.methods import base, concave, continuous, controls, gradual, magnitude, saliency
from lottery_lib.relaxation import FixedMask
from lottery_lib.training.loop import train


@pytest.mark.parametrize(
    "config, field, message",
    [
        (base.SearchConfig, {"density": 0}, "density = 0: must lie in (0, 1], a fraction of the weights to keep"),
        (base.SearchConfig, {"density": 1.5}, "density = 1.5: must lie in (0, 1], a fraction of the weights to keep"),
        (
            base.SearchConfig, {"density": float("nan")},
            "density = nan: must be a finite number",
        ),
        (base.SearchConfig, {"rewind_epoch": 3}, "rewind_epoch = 3: must be 0 to 2"),
        (base.SearchConfig, {"rewind_epoch": -1}, "rewind_epoch = -1: must be 0 to 2"),
        (base.SearchConfig, {"rewind_epoch": 0.5}, "rewind_epoch = 0.5: must be a whole number"),
        (base.SearchConfig, {"rounds": (0.5, 0.3)}, "rounds = (0.5, 0.3): must fall from below 1 to the density, 0.2"),
        (base.SearchConfig, {"rounds": 3}, "rounds = 3: must be the densities after each, as (0.4, 0.2)"),
        (
            base.SearchConfig, {"recipe": {"epochs": 3}},
            "recipe is of type dict; must be as Recipe(epochs=10)",
        ),
        (base.SearchConfig, {"rounds": (0.1, 0.2)}, "rounds = (0.1, 0.2): must fall from below 1 to the density, 0.2"),
        (base.SearchConfig, {"rounds": (1.0, 0.2)}, "rounds = (1.0, 0.2): must fall from below 1 to the density, 0.2"),
        (concave.Config, {"lam": -1.0}, "lam = -1.0: must be ≥ 0"),
        (concave.Config, {"mask_lr": -1.0}, "mask_lr = -1.0: must be ≥ 0"),
        (concave.Config, {"alpha": 0.0}, "alpha = 0.0: must lie in (0, 1]"),
        (concave.Config, {"alpha": 1.1}, "alpha = 1.1: must lie in (0, 1]"),
        (concave.Config, {"regularizer": "l2"}, "unknown regulariser 'l2'; known: l1, log, lp, mcp, exponential"),
        (concave.Config, {"shape": -0.1}, "eps = -0.1: must be > 0"),
        (continuous.Config, {"lam": -1.0}, "lam = -1.0: must be ≥ 0"),
        (continuous.Config, {"mask_lr": float("nan")}, "mask_lr = nan: must be a finite number"),
        (magnitude.Config, {"score": "size"}, "unknown score 'size'; known: magnitude, increase"),
        (saliency.Config, {"criterion": "snap"}, "unknown criterion 'snap'; known: snip, grasp, synflow"),
        (saliency.Config, {"batches": 2.5}, "batches = 2.5: must be a whole number"),
        (saliency.Config, {"batches": 0}, "pruning at initialisation needs batches ≥ 1 and knows no rounds"),
        (saliency.Config, {"rounds": (0.5, 0.2)}, "pruning at initialisation needs batches ≥ 1 and knows no rounds"),
    ]
    + [
        (gradual.Config, field, "gradual pruning is one training: length must be ≥ 1, without rounds and rewind_epoch")
        for field in ({"length": 0}, {"rounds": (0.5, 0.2)}, {"rewind_epoch": 1})
    ],
)  # fmt: skip
def test_configs_out_of_range_are_refused(config, field, message):
    with pytest.raises(LotteryError) as error:
        config(**LEAST | field)
    assert str(error.value) == message


def test_rounds_may_fall_geometrically():
    densities = methods.geometric(0.02, 4)
    assert densities[-1] == 0.02 and len(densities) == 4
    assert [a / b for a, b in zip(densities, densities[1:])] == pytest.approx([0.02**-0.25] * 3)
    assert methods.geometric(0.3, 1) == (0.3,)
    assert base.SearchConfig(density=0.02, rounds=densities).densities == densities
    assert base.SearchConfig(density=0.02).densities == (0.02,)


@pytest.fixture
def trained(monkeypatch):
    """The number of epochs of each training."""
    spent, original = [], base.train

    def counted(*args, **kwargs):
        history = original(*args, **kwargs)
        spent.append(len(history.epochs))
        return history

    monkeypatch.setattr(base, "train", counted)
    return spent


ROUNDS = (0.5, 0.3, 0.2)
SPENT = (
    [
        (name, rounds, k, k + (3 - k) * len(rounds or [1]))
        for name in ITERATIVE
        for rounds in ((), ROUNDS)
        for k in (0, 1)
    ]
    + [(name, (), k, k) for name in ("snip", "grasp", "synflow", "random") for k in (0, 1)]
    + [("gradual", (), 0, 6)]
)


@pytest.mark.parametrize("name, rounds, rewind_epoch, epochs", SPENT)
def test_search_epochs_are_those_spent(name, rounds, rewind_epoch, epochs, trained, tmp_path):
    ticket = find(name, None, {"work": tmp_path}, rounds=rounds, rewind_epoch=rewind_epoch)
    assert ticket.search_epochs == sum(trained) == epochs
    assert (ticket.info["seconds"] > 0) == (sum(trained) > 0)
    again = find(name, None, {"work": tmp_path}, rounds=rounds, rewind_epoch=rewind_epoch)  # read from files
    assert (again.search_epochs, again.info) == (ticket.search_epochs, ticket.info)


@pytest.mark.parametrize("name", SEARCHES)
def test_tickets_say_how_they_were_found(name):
    ticket = find(name, seed=3)
    module, fields = SEARCHES[name]
    assert ticket.config["method"] == module.__name__.rpartition(".")[2] and ticket.seed == 3
    assert ticket.config.items() >= {**fields, "density": 0.2, "seed": 3, "rewind_epoch": 0}.items()
    epochs = ticket.config["recipe"]["epochs"] * ticket.config.get("length", 1)
    assert ticket.search_epochs in (0, epochs) and ticket.provenance["torch"] == str(torch.__version__)
    assert ticket.info["trained"] == (name == "gradual")


def test_a_seed_may_be_written_as_a_float(tmp_path):
    """The ticket was written, and no longer read."""
    ticket = find("random", seed=2.0)
    ticket.save(tmp_path / "ticket.safetensors")
    assert tickets.Ticket.load(tmp_path / "ticket.safetensors").seed == 2
    assert same_bits(ticket.mask, find("random", seed=2).mask)


def test_an_empty_layer_is_named_unless_it_is_allowed(monkeypatch):
    full = masks.ones(lenet())
    full["fc2.weight"][:] = False
    monkeypatch.setattr(masks, "random", lambda *args: full)
    with pytest.raises(LotteryError, match="layer 'fc2.weight' keeps none of its 300 weights") as error:
        find("random")
    assert same_bits(error.value.ticket.mask, full)  # is not lost
    assert not find("random", allow_empty_layers=True).mask["fc2.weight"].any()


@pytest.mark.parametrize("name", ["concave", "one-shot", "continuous", "gradual"])
def test_every_trained_search_checks_for_empty_layers(name):
    density, model = 1 / 2320, lenet()  # one weight in all
    with pytest.raises(LotteryError, match="keeps none of its .* weights at density 0.000431.*allow_empty_layers=True"):
        find(name, model, density=density)
    if name != "gradual":  # which leaves the trained weights
        assert same_values(copied(model.state_dict()), copied(lenet().state_dict()))  # rewound, to be searched again
    assert find(name, density=density, allow_empty_layers=True).density == density


@pytest.mark.parametrize("name", SEARCHES)
def test_the_model_is_left_rewound_and_pruned(name):
    model = convnet()
    ticket = find(name, model)
    expected = {key: value * ticket.mask[key] if key in ticket.mask else value for key, value in ticket.rewind.items()}
    assert same_values(copied(model.state_dict()), expected)
    if name not in ("gradual", "lr-rewinding"):
        assert same_bits(ticket.rewind, copied(convnet().state_dict()))
    assert "classifier.weight" not in ticket.mask


@pytest.mark.parametrize("name", ["concave", "random", "snip"])
def test_names_choose_what_is_masked(name):
    ticket = find(name, names=("fc1.weight",))
    assert list(ticket.mask) == ["fc1.weight"] and ticket.density == pytest.approx(0.2, abs=1e-3)


def test_retraining_is_a_masked_training_from_the_rewound_weights():
    model, plain = lenet(), lenet()
    ticket = find("random", rewind_epoch=1)
    history = retrained(model, ticket, seed=4)  # from the ticket's rewind epoch
    plain.load_state_dict(ticket.rewind)
    expected = train(plain, digits(), RECIPE, parameterization=FixedMask(plain, ticket.mask), seed=4, start=1)
    assert same_values(copied(model.state_dict()), copied(plain.state_dict()))
    assert timeless(history) == timeless(expected) and [epoch["epoch"] for epoch in history.epochs] == [1, 2]


def test_a_trained_ticket_comes_back_as_it_is():
    ticket = find("gradual")
    model = lenet(1)
    assert retrained(model, ticket).epochs == [] and same_values(copied(model.state_dict()), ticket.rewind)


def test_all_that_a_search_needs_can_be_frozen_with_names():
    """Fine-tuning: a frozen layer stays as it is, and out of the mask; where much stays dense, it is said."""
    model = lenet()
    model.fc1.weight.requires_grad_(False)
    start = model.fc1.weight.clone()
    config = concave.Config(**LEAST)
    said = r"^[\d.]+ % of all parameters stay dense, as no mask covers fc1.weight \(frozen\)$"
    with pytest.warns(UserWarning, match=said):
        ticket = concave.search(model, digits(), config)
    assert torch.equal(model.fc1.weight, start) and list(ticket.mask) == ["fc2.weight", "fc3.weight"]
    small = lenet()
    small.fc3.weight.requires_grad_(False)
    with pytest.warns(UserWarning, match=said.replace("fc1", "fc3")):
        controls.search(small, digits(), controls.Config(density=0.5))
    model.load_state_dict(ticket.state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        concave.search(model, digits(), replace(config, names=("fc2.weight", "fc3.weight")))  # as it was asked for
    model.load_state_dict(ticket.state())
    with pytest.raises(LotteryError, match="'fc1.weight' gets no gradient"):
        concave.search(model, digits(), replace(config, names=("fc1.weight",)))


@pytest.mark.parametrize("method", [concave, magnitude, gradual, saliency])
def test_a_network_that_was_pruned_is_not_searched_again(method):
    model = lenet()
    ticket = controls.search(model, digits(), controls.Config(density=0.5))
    with pytest.raises(
        LotteryError, match=r"^\d+ % of 'fc1.weight' are zero already, as of a network that was pruned; rewi"
    ):
        method.search(model, digits(), method.Config(**LEAST))
    model.load_state_dict(ticket.state())
    assert method.search(model, digits(), method.Config(**LEAST)).density > 0


def test_a_layer_may_begin_at_zero():
    model = lenet()
    torch.nn.init.zeros_(model.fc3.weight)
    controls.search(model, digits(), controls.Config(density=0.5))


def sharded():
    model = lenet()
    model.fc1.weight.full_tensor = None  # as weights under FSDP have
    return model


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)),
            "'1.weight' has no shape yet, as of a lazy layer; call",
        ),
        (lambda: lenet().to("meta"), "'fc1.weight' lies on the meta device, without values; load or draw the weights"),
        (
            lambda: torch.jit.script(nn.Sequential(nn.Linear(6, 3))),
            "a scripted network hides its layers; give the one",
        ),
        (sharded, "'fc1.weight' is sharded, and a mask covers whole weights; take DistributedDataParallel"),
    ],
)
def test_weights_that_are_not_there_are_named(make, sentence):
    model = make()
    ticket = controls.search(lenet(), digits(), controls.Config(density=0.5))
    for begin in (
        lambda: concave.search(model, digits(), concave.Config(**LEAST)),
        lambda: concave.attach(model, torch.optim.SGD(model.parameters(), 0.1), steps=5),
        lambda: ticket.apply(model),
    ):
        with pytest.raises(LotteryError, match=f"^{sentence}"):
            begin()


def test_a_weight_under_a_parametrization_stays_dense_and_that_is_said():
    model = nn.Sequential(nn.Linear(6, 40), nn.Linear(40, 3), nn.Linear(3, 3))
    nn.utils.parametrizations.weight_norm(model[2])
    said = r"as no mask covers 2.parametrizations.weight.original1 \(under a parametrization\), .*; remove a par"
    with pytest.warns(UserWarning, match=f"^2.9 % of all parameters stay dense, {said}"):
        concave.attach(model, torch.optim.SGD(model.parameters(), 0.1), steps=10)


@pytest.mark.filterwarnings("ignore:.*weight_norm")  # the older one is deprecated
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_where_all_layers_are_parametrized_that_is_why_nothing_can_be_masked(norm):
    model = nn.Sequential(norm(nn.Linear(6, 40)), nn.ReLU(), norm(nn.Linear(40, 3)))
    with pytest.raises(LotteryError, match="^nothing to mask: .*; '0.* is under a parametrization$"):
        weights.prunable(model)


def test_an_embedding_stays_dense_whatever_layer_is_tied_to_it():
    for first in ("table", "out"):
        layers = {"table": nn.Embedding(6, 4), "hidden": nn.Linear(4, 4), "out": nn.Linear(4, 6, bias=False)}
        layers["out"].weight = layers["table"].weight
        model = nn.ModuleDict({name: layers[name] for name in sorted(layers, key=lambda name: name != first)})
        assert weights.prunable(model) == ["hidden.weight"]


@pytest.mark.parametrize("begin", [nn.init.eye_, nn.init.dirac_])
def test_a_layer_may_begin_as_the_identity(begin):
    layer = nn.Conv1d(8, 8, 3, padding=1) if begin is nn.init.dirac_ else nn.Linear(8, 8)
    begin(layer.weight)
    data = batches.own((torch.randn(16, 8, 8), torch.zeros(16, dtype=int)))
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 2))
    assert controls.search(model, data, controls.Config(density=0.5)).density == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("method", [concave, magnitude, gradual])
def test_a_search_that_fails_leaves_the_weights_that_it_began_with(method):
    model, seen = lenet(), []
    start = copied(model.state_dict())

    def diverges(outputs, labels):
        seen.append(outputs)
        return cross_entropy(outputs, labels) * (float("nan") if len(seen) > 10 else 1)

    with pytest.raises(LotteryError, match="^the loss is not finite in epoch"):
        method.search(model, digits(), method.Config(**LEAST), loss=diverges)
    assert same_bits(model.state_dict(), start) and all(each.grad is None for each in model.parameters())


@pytest.mark.parametrize("method, call", [(concave, 30), (magnitude, 30), (continuous, 30), (saliency, 12)])
def test_who_interrupts_a_search_and_asks_again_gets_what_it_would_have_been(method, call, tmp_path):
    config, calls = method.Config(**LEAST | {"rewind_epoch": 1}), []

    def interrupted(outputs, labels):
        calls.append(outputs)
        if len(calls) == call:
            raise KeyboardInterrupt
        return cross_entropy(outputs, labels)

    undisturbed, model = method.search(convnet(), digits(), config), convnet()
    start = copied(model.state_dict())
    with pytest.raises(KeyboardInterrupt):
        method.search(model, digits(), config, loss=interrupted, work=tmp_path)
    assert same_bits(model.state_dict(), start)
    again = method.search(model, digits(), config, work=tmp_path)
    assert masks.digest(again.mask) == masks.digest(undisturbed.mask)


def test_a_network_that_ends_empty_can_be_searched_again():
    """Gradual pruning rewinds to the trained weights, of which few are left."""
    model = lenet()
    start = copied(model.state_dict())
    with pytest.raises(LotteryError, match="keeps none"):
        gradual.search(model, digits(), gradual.Config(**LEAST | {"density": 1e-5}))
    assert same_bits(model.state_dict(), start)


def test_weights_that_a_trained_ticket_has_are_finite(monkeypatch):
    steps, calls = 2 * RECIPE.epochs * digits().train.steps(RECIPE.batch_size), []
    push = gradual.GradualMask.push_forward

    def breaks(rule):  # in the last step, whose loss was finite
        push(rule)
        calls.append(rule)
        if len(calls) == steps:
            rule.weights[0].detach().fill_(float("nan"))

    monkeypatch.setattr(gradual.GradualMask, "push_forward", breaks)
    with pytest.raises(LotteryError, match="^'fc1.weight' is not finite after the last step; lower"):
        gradual.search(lenet(), digits(), gradual.Config(**LEAST))


def test_a_pruned_network_with_equal_weights_is_no_identity():
    model = lenet()
    with torch.no_grad():
        model.fc2.weight.zero_()[0, 3] = 1.0
    with pytest.raises(LotteryError, match="of 'fc2.weight' are zero already"):
        controls.search(model, digits(), controls.Config(density=0.5))


def test_a_second_matrix_in_a_layer_is_no_parametrization():
    class Adapted(nn.Linear):
        def __init__(self):
            super().__init__(40, 40)
            self.low = nn.Parameter(torch.zeros(2, 40))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = batches.own((torch.randn(16, 40), torch.zeros(16, dtype=int)))
        controls.search(nn.Sequential(Adapted(), nn.Linear(40, 2)), data, controls.Config(density=0.5))


def test_an_embedding_without_a_weight_of_its_own_is_no_trouble():
    table = nn.Embedding(6, 4)
    del table.weight
    assert weights.prunable(nn.Sequential(table, nn.Linear(4, 2))) == ["1.weight"]


@pytest.mark.parametrize("method", [concave, continuous])
def test_complex_weights_are_named(method):
    model = nn.Sequential(nn.Linear(6, 3, dtype=torch.complex64))
    with pytest.raises(LotteryError, match="^'0.weight' holds torch.complex64, and a mask is learnt by real numbers"):
        method.attach(model, torch.optim.SGD(model.parameters(), 0.1), steps=10)


def test_a_row_of_padding_is_no_sign_of_pruning():
    model = nn.Sequential(nn.Embedding(20, 8, padding_idx=0), nn.Flatten(), nn.Linear(24, 3))
    words = torch.randint(20, (64, 3))
    config = concave.Config(recipe=RECIPE, density=0.5, lam=1e-3, names=("0.weight", "2.weight"))
    assert concave.search(model, batches.own((words, words[:, 0] % 3)), config).density == pytest.approx(0.5, abs=0.01)


def test_names_are_several_in_any_sequence():
    with pytest.raises(LotteryError, match="^names = 'fc1.weight': must be several names, or one as"):
        concave.Config(names="fc1.weight")
    assert concave.Config(names=(name for name in ["a", "b"])).names == concave.Config(names=["a", "b"]).names


@pytest.mark.parametrize("config", [concave.Config, saliency.Config])
@pytest.mark.parametrize("field, value", [("density", "0.2"), ("seed", None), ("density", None), ("density", [0.2])])
def test_text_is_no_number(config, field, value):
    with pytest.raises(LotteryError, match=f"^{field} = .*: must be"):
        config(**{field: value})


def test_a_tied_weight_may_be_named_either_way():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
    model[1].weight = model[0].weight
    assert weights.prunable(model, ["1.weight"]) == weights.prunable(model, ["0.weight"]) == ["0.weight"]


def test_arguments_in_each_other_s_place_are_named():
    ticket = find("random")
    with pytest.raises(LotteryError, match="^config is of type Recipe; must be the method's, as concave.Config"):
        concave.search(lenet(), digits(), RECIPE)
    with pytest.raises(LotteryError, match="^model is of type .*; must be a torch.nn.Module"):
        concave.search(digits(), lenet(), concave.Config(**LEAST))
    with pytest.raises(LotteryError, match="^ticket is of type .*; must be what a search returns"):
        methods.retrain(lenet(), ticket, digits(), RECIPE)
    with pytest.raises(LotteryError, match="^recipe is of type NoneType; must be as Recipe"):
        methods.retrain(lenet(), digits(), ticket, None)
    with pytest.raises(LotteryError, match="^mask is of type Ticket; must be a tensor for each name, as ticket.mask"):
        tickets.to_csr(lenet(), ticket)


def test_a_model_under_pytorch_s_own_pruning_is_named():
    ticket, model = find("random"), lenet()
    tickets.to_prune(model, ticket.mask)
    for use in (lambda: ticket.apply(model), lambda: tickets.to_csr(model, ticket.mask)):
        with pytest.raises(LotteryError, match="' is under torch.nn.utils.prune; call prune.remove on it first"):
            use()


def test_the_share_that_is_told_is_that_of_what_is_named():
    model = convnet()
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.weight.requires_grad_(False)
    share = 100 * first.weight.numel() / sum(parameter.numel() for parameter in model.parameters())
    with pytest.warns(UserWarning, match=f"^{share:.2g} % of all parameters stay dense, as no mask covers "):
        find("random", model=model)


def test_the_config_of_another_method_is_refused():
    model, data = (
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)),
        batches.own((torch.eye(4), torch.tensor([0, 1, 0, 1]))),
    )
    for method, given in ((concave, magnitude.Config()), (gradual, saliency.Config()), (magnitude, concave.Config())):
        name, other = (each.__module__.rpartition(".")[2] for each in (method.Config, type(given)))
        with pytest.raises(LotteryError) as error:
            method.search(model, data, given)
        right = f"must be the method's, as {name}.Config(density=0.05)"
        assert str(error.value) == f"config is of type {other}.Config; {right}"
