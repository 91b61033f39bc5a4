"""methods/attached.py: a search in somebody else's loop is the library's own, whatever steps the optimiser."""

import warnings
from copy import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lottery_lib as lottery
from lottery_lib import masks
from lottery_lib.errors import LotteryError
from lottery_lib.methods import attached, attached_ticket, concave, continuous, controls, gradual
from lottery_lib.training.recipes import Recipe

RECIPE = Recipe(epochs=3, batch_size=64, weight_decay=1e-4, fast=False)
DATA = lottery.load("digits")
STEPS = RECIPE.epochs * DATA.train.steps(RECIPE.batch_size)


def network(seed=0):
    return lottery.models.create("lenet-300-100", DATA.classes, DATA.shape, seed=seed, width=0.3)


def loop(model, optimizer, first=0, last=STEPS, step=None, clip=None):
    """A loop that knows nothing of masks, over the batches of our own, from one step to another."""
    done = 0
    for epoch in range(RECIPE.epochs):
        for index, (images, labels) in enumerate(DATA.train.batches(RECIPE.batch_size, epoch=epoch, seed=0)):
            if first <= done < last:
                fraction = (epoch + index / DATA.train.steps(RECIPE.batch_size)) / RECIPE.epochs
                for group in optimizer.param_groups:
                    group["lr"] = RECIPE.lr_at(fraction)
                model.train()
                optimizer.zero_grad()
                cross_entropy(model(images), labels).backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                (step or optimizer.step)()
            done += 1


def sgd(model):
    return torch.optim.SGD(model.parameters(), RECIPE.lr, RECIPE.momentum, weight_decay=RECIPE.weight_decay)


def same(one, other):
    assert all(torch.equal(one.mask[name], other.mask[name]) for name in one.mask)
    assert all(torch.equal(one.relaxed[name], other.relaxed[name]) for name in one.mask)
    assert all(torch.equal(one.state()[name], other.state()[name]) for name in one.state())


SETTINGS = [{"density": 0.2}, {"density": 0.2, "lam": 1e-3}, {"lam": 3e-3, "alpha": 0.1}, {"regularizer": "l1"}]


@pytest.mark.filterwarnings("ignore:asked for a density")  # three epochs are few
@pytest.mark.parametrize("given", SETTINGS)
def test_it_has_the_same_bits_as_our_own_loop(given):
    ours = concave.search(network(), DATA, concave.Config(recipe=RECIPE, **given))
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=STEPS, **given)
    loop(model, optimizer)
    theirs = search.ticket()
    same(ours, theirs)
    assert theirs.info["steps"] == STEPS
    assert all(
        torch.equal(model.get_parameter(n) != 0, m & (model.get_parameter(n) != 0)) for n, m in theirs.mask.items()
    )


OPTIMIZERS = {
    "adam": lambda model: torch.optim.Adam(model.parameters(), 1e-3),
    "adamw, groups": lambda model: torch.optim.AdamW(
        [
            {"params": [p for n, p in model.named_parameters() if "bias" in n], "weight_decay": 0.0},
            {"params": [p for n, p in model.named_parameters() if "bias" not in n], "lr": 2e-3},
        ],
        1e-3,
    ),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), 1e-3),
    "nesterov": lambda model: torch.optim.SGD(model.parameters(), 0.05, 0.9, nesterov=True),
}


def plain(model, optimizer, epochs=10, clip=None, accumulate=1):
    for epoch in range(epochs):
        for index, (images, labels) in enumerate(DATA.train.batches(32, epoch=epoch, seed=0)):
            (cross_entropy(model(images), labels) / accumulate).backward()
            if (index + 1) % accumulate == 0:
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("more", [{}, {"clip": 1.0, "accumulate": 2}])
def test_any_first_order_optimiser_reaches_the_density(name, more):
    model = network()
    optimizer = OPTIMIZERS[name](model)
    steps = 10 * (DATA.train.steps(32) // more.get("accumulate", 1))
    search = concave.attach(model, optimizer, steps=steps, density=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain(model, optimizer, **more)
        ticket = search.ticket()
    assert search.step == steps and ticket.density == pytest.approx(0.2, rel=0.02)
    again = OPTIMIZERS[name](model)
    lottery.attach(model, again, ticket)
    plain(model, again)
    assert lottery.evaluate(model, DATA.val)["accuracy"] > 80
    for tensor, kept in ((model.get_parameter(name), kept) for name, kept in ticket.mask.items()):
        assert not tensor[~kept].any() and tensor[kept].all()


def test_a_closure_makes_its_gradients_within_the_step():
    def run(closed):
        model = network()
        optimizer = sgd(model)
        search = concave.attach(model, optimizer, steps=STEPS, density=0.2, lam=1e-3)
        for epoch in range(RECIPE.epochs):
            for images, labels in DATA.train.batches(RECIPE.batch_size, epoch=epoch, seed=0):

                def closure(images=images, labels=labels):
                    optimizer.zero_grad()
                    value = cross_entropy(model(images), labels)
                    value.backward()
                    return value

                if closed:
                    assert optimizer.step(closure) is not None
                else:
                    closure()
                    optimizer.step()
        return search.ticket()

    same(run(True), run(False))


def test_a_gradient_scaler_changes_nothing():
    def run(scale):
        model = network()
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=2.0**scale, enabled=bool(scale))
        search = concave.attach(model, optimizer, steps=STEPS, density=0.2, lam=1e-3)
        for images, labels in DATA.train.batches(RECIPE.batch_size, epoch=0, seed=0):
            optimizer.zero_grad()
            scaler.scale(cross_entropy(model(images), labels)).backward()
            scaler.step(optimizer)
            scaler.update()
        return search.ticket()

    same(run(10), run(0))


def test_it_goes_on_from_a_checkpoint_with_the_same_bits():
    half = STEPS // 2

    def begun():
        model = network()
        optimizer = sgd(model)
        return model, optimizer, concave.attach(model, optimizer, steps=STEPS, density=0.2)

    model, optimizer, search = begun()
    loop(model, optimizer, last=half)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "search": search.state_dict()}
    saved = torch.load(_written(saved), weights_only=True)
    loop(model, optimizer, first=half)
    other, again, resumed = begun()
    other.load_state_dict(saved["model"])
    again.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["search"])
    loop(other, again, first=half)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(search.ticket(), resumed.ticket())


def _written(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_a_search_attached_to_weights_of_a_checkpoint_rewinds_to_where_it_began():
    model = network()
    start = model.fc1.weight.detach().clone()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=STEPS, density=0.2, lam=1e-3)
    loop(model, optimizer, last=10)
    saved = search.state_dict()
    other = network()
    other.load_state_dict(model.state_dict())
    resumed = concave.attach(other, sgd(other), steps=STEPS, density=0.2, lam=1e-3)
    resumed.load_state_dict(saved)
    assert torch.equal(resumed.ticket().state()["fc1.weight"], start) and not torch.equal(model.fc1.weight, start)


def test_the_state_of_another_search_is_refused_whole():
    model = network()
    search = concave.attach(model, sgd(model), steps=10)
    smaller, before = lottery.models.create("lenet-300-100", DATA.classes, DATA.shape, width=0.1), search.state_dict()
    for attach, given in ((concave.attach, smaller), (continuous.attach, network()), (gradual.attach, network())):
        with pytest.raises(LotteryError, match="^the state of another search: it differs from this one's in"):
            search.load_state_dict(attach(given, sgd(given), steps=10).state_dict())
    with pytest.raises(LotteryError, match="^the state of another search"):
        search.load_state_dict({})
    assert search.state_dict().keys() == before.keys() and search.step == 0


@pytest.mark.parametrize("method", [concave, gradual])
def test_a_training_that_goes_on_without_the_state_of_its_search_is_told(method):
    model = network()
    optimizer = sgd(model)
    method.attach(model, optimizer, steps=STEPS)
    loop(model, optimizer, last=5)
    again = sgd(model)
    method.attach(model, again, steps=STEPS)  # to the weights of the checkpoint
    again.load_state_dict(optimizer.state_dict())
    with pytest.raises(LotteryError, match="^the optimiser's state was loaded after the search was attached, and the"):
        loop(model, again, last=6)


def test_a_ticket_asked_for_again_is_the_same_and_leaves_the_network_alone():
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=STEPS, density=0.2, lam=1e-3)
    loop(model, optimizer, last=20)
    ticket = search.ticket()
    lottery.attach(model, optimizer, ticket)
    loop(model, optimizer, first=20)
    trained = model.fc1.weight.detach().clone()
    assert search.ticket() is ticket and torch.equal(model.fc1.weight, trained)


WRITES = {
    "load_state_dict": lambda model, optimizer: model.load_state_dict(network(seed=1).state_dict()),
    "clipping": lambda model, optimizer: [weight.data.clamp_(-0.01, 0.01) for weight in model.parameters()],
    "another optimiser": lambda model, optimizer: torch.optim.SGD(model.parameters(), 0.5).step(),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("after", [0, 3, attached.LOOKED + 3])
def test_weights_that_somebody_else_writes_to_are_named_and_stay(write, after):
    if write == "clipping" and after > attached.LOOKED:
        pytest.skip("by .data nothing is noted")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    concave.attach(model, optimizer, steps=1000)
    images, labels = next(DATA.train.batches(64, epoch=0, seed=0))
    for _ in range(after):
        optimizer.step()
    cross_entropy(model(images), labels).backward()
    optimizer.step()
    WRITES[write](model, optimizer)
    written = model.fc1.weight.detach().clone()
    with pytest.raises(LotteryError, match="^'fc1.weight' was written to since the last step"):
        optimizer.step()
    assert torch.equal(model.fc1.weight, written)


@pytest.mark.parametrize("method", [concave, continuous, gradual])
def test_weights_may_be_exchanged_for_a_while_and_moved_to_another_type(method):
    model = network()
    optimizer = sgd(model)
    search = method.attach(model, optimizer, steps=STEPS)
    loop(model, optimizer, last=5)
    with torch.no_grad():
        kept = [weight.clone() for weight in model.parameters()]
        for weight in model.parameters():  # as an average is looked at
            weight.zero_()
        for weight, value in zip(model.parameters(), kept):
            weight.copy_(value)
    model.double()
    images, labels = next(DATA.train.batches(64, epoch=0, seed=0))
    optimizer.zero_grad()
    cross_entropy(model(images.double()), labels).backward()
    optimizer.step()
    assert search.step == 6


def test_one_search_or_mask_at_a_time_holds_the_weights_of_an_optimiser():
    model, other = network(), network(1)
    optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], 0.1)
    search = concave.attach(model, optimizer, steps=10)
    concave.attach(other, optimizer, steps=10)  # two networks are another matter
    for attach in (
        lambda: concave.attach(model, optimizer, steps=10),
        lambda: gradual.attach(model, optimizer, steps=10),
    ):
        with pytest.raises(LotteryError, match="^another search or mask is attached to these weights"):
            attach()
    search.detach()
    concave.attach(model, optimizer, steps=10)


def test_between_steps_the_network_is_what_it_is():
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=STEPS, lam=3e-2)
    loop(model, optimizer, last=10)
    for weight, m, theta in zip(search.rule.weights, search.rule.m, search.rule.theta):
        assert torch.equal(weight, m * theta) and (m == 0).any()


def test_a_weight_without_a_gradient_counts_as_one_of_zero():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    search = concave.attach(model, optimizer, steps=5, lam=1e-3, mask_lr=1.0)
    before = [theta.clone() for theta in search.rule.theta]
    images, labels = next(DATA.train.batches(64, epoch=0, seed=0))
    cross_entropy(model[:-1](images)[:, :10], labels).backward()  # without its last layer
    optimizer.step()
    last = len(before) - 1
    assert torch.equal(search.rule.theta[last], before[last]) and not torch.equal(search.rule.theta[0], before[0])
    assert (search.rule.m[last] < 1).all()  # nobody spoke for them


def test_a_weight_that_no_gradient_reached_is_named_with_the_ticket():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    search = gradual.attach(model, optimizer, steps=2, density=0.5)
    images, labels = next(DATA.train.batches(64, epoch=0, seed=0))
    cross_entropy(model[:-1](images)[:, :10], labels).backward()  # without its last layer
    optimizer.step()
    with pytest.warns(UserWarning, match="^since the search was attached no gradient reached 'fc3.weight': if unused"):
        search.ticket()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_a_mask_moves_in_half_precision_too(kind):
    model = nn.Sequential(nn.Linear(4, 4, bias=False)).to(kind)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    search = concave.attach(model, optimizer, steps=500, regularizer="l1", lam=1e-3, mask_lr=1.0)
    for _ in range(500):
        model.zero_grad()
        (model(torch.zeros(1, 4, dtype=kind)) ** 2).sum().backward()  # nothing but the penalty moves the mask
        optimizer.step()
    assert search.rule.m[0].dtype == torch.float32
    torch.testing.assert_close(search.rule.m[0], torch.full((4, 4), 0.5), atol=1e-4, rtol=0)
    assert model[0].weight.dtype == kind


def test_fewer_steps_than_said_are_named():
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=10 * STEPS, density=0.2)
    loop(model, optimizer)
    with pytest.warns(UserWarning, match=f"only {STEPS} of the {10 * STEPS} steps it was told of were taken"):
        search.ticket()


@pytest.mark.filterwarnings("ignore:asked for a density")
def test_more_steps_than_said_move_nothing_any_more():
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=STEPS // 2, density=0.2)
    loop(model, optimizer, last=STEPS // 2 + 1)
    counted = [int((m >= 0.1).sum()) for m in search.rule.m]
    loop(model, optimizer, first=STEPS // 2 + 1)
    assert sum(counted) == pytest.approx(sum(int((m >= 0.1).sum()) for m in search.rule.m), rel=0.02)


def test_a_step_that_is_none_and_what_will_not_do():
    model, other = network(), network(1)
    search = concave.attach(model, sgd(model), steps=10)
    with pytest.raises(LotteryError, match="no step was taken since the search was attached"):
        search.ticket()
    for optimizer, given, sentence in (
        (torch.optim.LBFGS(model.parameters()), {}, "L-BFGS evaluates the loss several times a step"),
        (sgd(other), {}, "the optimiser does not step 'fc1.weight'; build it over the model's parameters first"),
        (sgd(model), {"recipe": RECIPE}, "recipe: a loop of your own decides that; known here: allow_empty_layers, "),
        (sgd(model), {"density": 2.0}, "density = 2.0: must lie in"),
        (sgd(model), {"steps": 0}, "steps = 0: must be ≥ 1"),
        (sgd(model), {"steps": None}, "steps = None: must be ≥ 1"),
        (sgd(model), {"steps": float("inf")}, "steps = inf: must be ≥ 1 and finite"),  # as of an endless training
    ):
        with pytest.raises(LotteryError, match=f"^{sentence}"):
            concave.attach(model, optimizer, **{"steps": 10} | given)
    concave.attach(other, sgd(other), steps=np.int64(10))  # as computed


def test_after_detaching_the_optimiser_is_as_before():
    model, twin = network(), network()
    optimizer, alone = sgd(model), sgd(twin)
    concave.attach(model, optimizer, steps=STEPS).detach()
    loop(model, optimizer, last=5)
    loop(twin, alone, last=5)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values()))


@pytest.mark.parametrize("method, given", [(gradual, {}), (continuous, {"start": -0.05})])
def test_other_methods_attach_too(method, given):
    ours = method.search(network(), DATA, method.Config(density=0.2, recipe=RECIPE, **given))
    model = network()
    optimizer = sgd(model)
    length = getattr(ours.config, "length", ours.config.get("length", 1))
    search = method.attach(model, optimizer, steps=STEPS * length, density=0.2, **given)
    for _ in range(length):
        loop(model, optimizer)
    ticket = search.ticket()
    assert ticket.density == pytest.approx(ours.density, abs=1e-4) and ticket.info["trained"] == ours.info["trained"]
    kept = {name: model.get_parameter(name) != 0 for name in ticket.mask}
    assert masks.density(kept) == pytest.approx(0.2, abs=1e-3)
    if method is continuous:
        assert masks.overlap(ours.mask, ticket.mask) > 0.95  # but for the rounding of how much is done


def test_a_ticket_is_kept_in_any_loop():
    model = network()
    ticket = controls.search(model, DATA, controls.Config(density=0.1))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    attached_ticket.attach(model, optimizer, ticket)
    plain(model, optimizer, epochs=2)
    assert masks.density({name: model.get_parameter(name) != 0 for name in ticket.mask}) == pytest.approx(0.1, abs=1e-3)
    assert model.get_parameter("fc1.bias").any()


class Swapped(nn.Module):
    """Whose classifier is registered before another linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.hidden = nn.Conv2d(1, 4, 3), nn.Linear(16, 10), nn.Linear(4 * 36, 16)

    def forward(self, images):
        return self.head(self.hidden(self.conv(images).relu().flatten(1)).relu())


@pytest.mark.filterwarnings("ignore:91 % of all parameters stay dense")
def test_the_classifier_that_stays_dense_is_the_one_nearest_the_output():
    images, labels = next(iter(DATA.train.batches(64, epoch=0, seed=0)))
    model = Swapped()
    concave.attach(model, refused := sgd(model), steps=10)
    with pytest.raises(LotteryError, match="'hidden.weight' was taken for the classifier.*'head.weight' is nearest"):
        model(images)
    model(images)  # said once
    concave.attach(model, refused, steps=10).detach()  # nothing is attached to that optimiser any more
    names = lottery.weights.prunable(model, trace=lambda: model(images).sum())
    assert names == ["conv.weight", "hidden.weight"]
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=10, names=names)
    cross_entropy(model(images), labels).backward()
    optimizer.step()
    assert search.step == 1


@pytest.mark.filterwarnings("ignore:91 % of all parameters stay dense")
def test_a_search_that_is_refused_or_detached_leaves_nothing_on_the_model():
    images, _ = next(iter(DATA.train.batches(64, epoch=0, seed=0)))
    model = Swapped()
    with pytest.raises(LotteryError, match="L-BFGS evaluates"):
        concave.attach(model, torch.optim.LBFGS(model.parameters()), steps=10)
    concave.attach(model, sgd(model), steps=10).detach()
    assert not model._forward_hooks
    concave.attach(model, sgd(model), steps=10, names=("conv.weight", "hidden.weight"))
    model(images)


@pytest.mark.parametrize("method", [concave, continuous, gradual])
def test_an_optimiser_that_is_refused_leaves_the_model_as_it_was(method):
    model = network()
    ticket = controls.search(network(1), DATA, controls.Config(density=0.1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for optimizer in (torch.optim.LBFGS(model.parameters()), torch.optim.SGD(network().parameters(), 0.1)):
        with pytest.raises(LotteryError):
            method.attach(model, optimizer, steps=10, density=0.2)
        with pytest.raises(LotteryError):
            attached_ticket.attach(model, optimizer, ticket)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_layer_that_is_frozen_stays_so_under_a_ticket_and_stops_a_search():
    model = network()
    ticket = controls.search(model, DATA, controls.Config(density=0.5))
    model.fc1.weight.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    attached_ticket.attach(model, optimizer, ticket)
    before = model.fc1.weight.clone()
    loop(model, optimizer, last=3)
    assert torch.equal(model.fc1.weight, before)

    model = network()
    optimizer = sgd(model)
    concave.attach(model, optimizer, steps=STEPS)
    loop(model, optimizer, last=2)
    model.fc1.weight.requires_grad_(False)
    with pytest.raises(
        LotteryError, match="^'fc1.weight' gets no gradient \\(it is frozen\\); train it, or leave it out of names"
    ):
        loop(model, optimizer, last=1)


def test_a_weight_that_is_frozen_is_refused_before_any_step():
    model = network()
    model.fc1.weight.requires_grad_(False)
    with pytest.raises(LotteryError, match="^'fc1.weight' gets no gradient"):
        concave.attach(model, sgd(model), steps=STEPS, names=("fc1.weight", "fc2.weight"))


def test_a_closure_may_unfreeze_its_network():
    """As of two networks that take turns."""
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=STEPS)
    images, labels = next(iter(DATA.train.batches(64, epoch=0, seed=0)))

    def closure():
        model.requires_grad_(True)
        optimizer.zero_grad()
        value = cross_entropy(model(images), labels)
        value.backward()
        return value

    model.requires_grad_(False)
    optimizer.step(closure)
    assert search.step == 1


@pytest.mark.parametrize("method", [continuous, gradual])
def test_what_decides_towards_its_end_says_that_it_ended_early(method):
    model = network()
    optimizer = sgd(model)
    search = method.attach(model, optimizer, steps=STEPS, density=0.2)
    loop(model, optimizer, last=5)
    with pytest.warns(UserWarning, match=f"^only 5 of the {STEPS} steps it was told of were taken, so that what"):
        search.ticket()


def test_a_ticket_of_an_attached_search_tells_of_no_training_that_was_not():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4)
    search = continuous.attach(model, optimizer, steps=5, density=0.2)
    loop(model, optimizer, last=5)
    ticket = search.ticket()
    assert not {"recipe", "seed"} & {*ticket.config} and ticket.seed is None and ticket.info["steps"] == 5
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_graph_that_does_not_show_the_layers_tells_nothing():
    class Checkpointed(Swapped):
        def forward(self, images):
            return torch.utils.checkpoint.checkpoint(super().forward, images.requires_grad_(), use_reentrant=True)

    images, _ = next(iter(DATA.train.batches(64, epoch=0, seed=0)))
    model = Checkpointed()
    concave.attach(model, sgd(model), steps=10)
    model(images)


def test_steps_in_another_unit_are_told():
    """As of epochs, where an estimate may be half as many again."""
    model = network()
    optimizer = sgd(model)
    with pytest.raises(LotteryError, match="^steps = 3: too few, as the mask does not move in the first 5; give t"):
        concave.attach(model, optimizer, steps=RECIPE.epochs, density=0.2)
    for method, steps, taken in ((concave, 6, 9), (gradual, RECIPE.epochs, 5)):
        model = network()
        method.attach(model, optimizer := sgd(model), steps=steps, density=0.2)
        said = f"{taken} steps were taken, and the search has decided by the {steps} it was told of"
        with pytest.warns(UserWarning, match=said):
            loop(model, optimizer, last=10)


def test_steps_play_no_part_where_lambda_is_given(recwarn):
    model = network()
    optimizer = sgd(model)
    search = concave.attach(model, optimizer, steps=2, density=0.2, lam=3e-2)
    loop(model, optimizer, last=10)
    assert search.step > 3 and not [one for one in recwarn if "steps" in str(one.message)]


@pytest.mark.filterwarnings("ignore:asked for a density", "ignore:only 20 of the 57 steps")
@pytest.mark.parametrize("method", [concave, continuous, gradual])
def test_a_network_that_is_moved_between_two_steps_takes_its_search_along(method):
    """As a trainer brings it back to the CPU before the ticket is asked for, or to a GPU before a checkpoint is read.

    There is but one device here that has values, so it is the mask that lies elsewhere.
    """
    model = network()
    search = method.attach(model, optimizer := sgd(model), steps=STEPS, density=0.2)
    loop(model, optimizer, last=20)
    state, follow = {name: copy(value) for name, value in search.state_dict().items()}, search.rule.follow
    kept = search.rule.m if method is concave else search.rule.s if method is continuous else search.rule.mask
    right = [tensor.clone() for tensor in kept]

    def brought():
        kept[:] = right
        follow()

    search.rule.follow = brought
    kept[:] = [tensor.to("meta") for tensor in right]
    search.load_state_dict(state)
    kept[:] = [tensor.to("meta") for tensor in right]
    search.ticket()
    assert all(torch.equal(tensor, other) for tensor, other in zip(kept, right))


def test_a_step_that_breaks_the_weights_is_named_long_before_the_end():
    model = network()
    optimizer = sgd(model)
    concave.attach(model, optimizer, steps=STEPS)
    loop(model, optimizer, last=3)
    with pytest.raises(LotteryError, match="^'fc1.weight' is not finite after 4 steps; lower the learning rate"):
        loop(model, optimizer, first=3, step=lambda: (model.fc1.weight.grad.fill_(float("nan")), optimizer.step()))


def test_a_tickets_mask_that_another_optimiser_undid_is_told():
    model = network()
    ticket = controls.search(model, DATA, controls.Config(density=0.2))
    masked = attached_ticket.attach(model, sgd(model), ticket)
    loop(model, sgd(model), last=2)
    with pytest.warns(UserWarning, match="'fc1.weight' has weights again that the ticket prunes"):
        masked.detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked.detach()  # told once
        attached_ticket.attach(model, optimizer := sgd(model), ticket)
        loop(model, optimizer, last=2)


def test_what_a_loop_decides_itself_is_no_option():
    model = network()
    for given in ({"epochs": 3}, {"loss": cross_entropy}):
        with pytest.raises(LotteryError, match="^(epochs|loss): a loop of your own decides that; known here: allow_e"):
            concave.attach(model, sgd(model), steps=5, **given)


def test_an_option_that_there_is_not_is_no_matter_of_the_loop():
    model = network()
    with pytest.raises(LotteryError, match="^densty: no option here; did you mean 'density'"):
        concave.attach(model, sgd(model), steps=STEPS, densty=0.2)
