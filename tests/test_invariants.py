"""The seven invariants that everything else stands on, and that a kill at any moment changes no bit."""

import multiprocessing
import random
import shutil
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import (
    ITERATIVE,
    LEAST,
    RECIPE,
    SEARCHES,
    Dropping,
    convnet,
    copied,
    digits,
    find,
    lenet,
    noise,
    perceptron,
    retrained,
    same_bits,
    same_values,
    search_and_retrain,
    timeless,
    watched,
)  # fmt: skip

from lottery_lib import masks, regularizers, weights
from lottery_lib.data import batches, images
from lottery_lib.methods import base, continuous, gradual
from lottery_lib.methods.calibration import CalibratedMask
from lottery_lib.methods.feedback import FeedbackMask
from lottery_lib.methods.frozen import FrozenMask
from lottery_lib.methods.popup import PopupMask
from lottery_lib.relaxation import FixedMask, RelaxedMask
from lottery_lib.training import recipes
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe

SEED = st.integers(0, 10_000)
SHARED = {
    "epochs": st.integers(1, 3), "batch_size": st.sampled_from([8, 20, 64]), "lr": st.floats(1e-3, 0.5),
    "weight_decay": st.just(0.0) | st.floats(1e-6, 0.1), "schedule": st.sampled_from(list(recipes.SCHEDULES)),
}  # fmt: skip
MOMENTUM = {"momentum": st.floats(0.1, 0.95), "nesterov": st.booleans()}
ADAMW = SHARED | {"optimizer": st.just("adamw"), "lr": st.floats(1e-3, 0.05)}
RECIPES = st.builds(Recipe, **SHARED, **MOMENTUM) | st.builds(Recipe, **ADAMW)
sparing = settings(max_examples=40)


# 1. Where the mask is 0 the weight is exactly 0, after any number of steps.


@sparing
@given(RECIPES, st.floats(0.05, 0.95), SEED)
def test_pruned_weights_are_zero_after_every_step(recipe, density, seed):
    model, mask = perceptron(seed=seed), masks.random(perceptron(), density, seed)
    steps = []

    def check(rule):
        steps.append(all(not weight[~mask[name]].any() for name, weight in zip(rule.names, rule.weights)))

    train(model, noise(), recipe, parameterization=watched(FixedMask(model, mask), check))
    assert steps == [True] * len(steps) and len(steps) == recipe.epochs * noise().train.steps(recipe.batch_size)
    assert all(weight[mask[name]].all() for name, weight in model.named_parameters() if name in mask)


@sparing
@given(RECIPES, st.floats(0.05, 0.95), SEED)
def test_gradual_pruning_leaves_zeros_for_good(recipe, density, seed):
    model = perceptron(seed=seed)
    rule = gradual.GradualMask(model, weights.prunable(model), gradual.Config(density=density))
    pruned = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool) for name in rule.names}
    zero = []

    def check(rule):
        for name, weight, mask in zip(rule.names, rule.weights, rule.mask):
            pruned[name] |= mask == 0
            zero.append(not weight[pruned[name]].any())

    train(model, noise(), recipe, parameterization=watched(rule, check))
    assert all(zero) and zero


# 2. After rewinding, weights are θ₀⊙mask to the last bit, at every round.


@pytest.fixture
def starts(monkeypatch):
    """Each training of a search: (rule, the model's state, masks as the rule has them, its first epoch)."""
    seen, original = [], base.train

    def spied(model, data, recipe, *, parameterization, **options):
        rule = parameterization
        tensors = getattr(rule, "mask", getattr(rule, "m", None)) or []
        kept = {name: tensor.bool() for name, tensor in zip(rule.names, tensors)} if rule else {}
        if rule and hasattr(rule, "theta"):
            rule.start = [theta.detach().clone() for theta in rule.theta]
        seen.append((rule, copied(model.state_dict()), kept, options["start"]))
        return original(model, data, recipe, parameterization=rule, **options)

    monkeypatch.setattr(base, "train", spied)
    return seen


@pytest.mark.parametrize("make", [lenet, convnet])
@pytest.mark.parametrize("rewind_epoch", [0, 1])
@pytest.mark.parametrize("name", ["concave", "one-shot", "continuous"])
def test_every_round_starts_from_the_rewound_weights(name, rewind_epoch, make, starts):
    rewind = make()
    train(rewind, digits(), RECIPE, stop=rewind_epoch)
    expected = copied(rewind.state_dict())
    model, rounds = make(), (0.6, 0.4, 0.2)
    ticket = find(name, model, rounds=rounds, rewind_epoch=rewind_epoch)

    searches = [start for start in starts if start[0] is not None]
    assert len(searches) == 3 and len(starts) == 3 + (rewind_epoch > 0)
    for (rule, state, kept, first), density in zip(searches, (1.0, *rounds)):
        assert first == rewind_epoch
        if name == "continuous":  # θ is what rewinds; its gate multiplies it
            assert same_bits(dict(zip(rule.names, rule.start)), {name: expected[name] for name in rule.names})
            assert all(same_bits({"": state[key]}, {"": expected[key]}) for key in expected if key not in rule.names)
            continue
        size = sum(mask.numel() for mask in kept.values())
        assert sum(int(mask.sum()) for mask in kept.values()) == round(density * size)
        pruned = {key: value * kept[key] if key in kept else value for key, value in expected.items()}
        if name == "one-shot":  # zeros of a fixed mask have no sign, as those of a ticket
            pruned = {key: value + 0 for key, value in pruned.items()}
        assert same_bits(state, pruned)
    assert same_bits(ticket.rewind, expected)
    pruned = {key: value * ticket.mask[key] if key in ticket.mask else value for key, value in expected.items()}
    assert same_values(copied(model.state_dict()), pruned)


# 3. 0 ≤ m ≤ 1 after every step; without penalty and mask steps the relaxed loop is the dense one.


@sparing
@given(RECIPES, st.sampled_from(list(regularizers.REGULARIZERS)), st.floats(0, 10), st.floats(0, 100), SEED)
def test_masks_stay_in_the_unit_box(recipe, regularizer, lam, mask_lr, seed):
    model = perceptron(seed=seed)
    rule = RelaxedMask(model, weights.prunable(model), regularizers.create(regularizer), lam, mask_lr)
    inside = []

    def check(rule):
        inside.extend(bool(((m >= 0) & (m <= 1)).all()) for m in rule.m)
        inside.extend(torch.equal(w, m * t) for w, m, t in zip(rule.weights, rule.m, rule.theta))

    train(model, noise(), recipe, parameterization=watched(rule, check))
    assert all(inside) and inside


@pytest.mark.parametrize("make", [lenet, convnet])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_a_mask_that_stays_at_one_trains_as_dense(make, optimizer, lam):
    recipe = Recipe(epochs=2, optimizer=optimizer, lr=0.05 if optimizer == "sgd" else 0.002, weight_decay=0.01)
    states = []
    for relaxed in (True, False):
        model = make()
        names = weights.prunable(model)
        rule = RelaxedMask(model, names, regularizers.create("log"), lam, 0.0) if relaxed else None
        history = timeless(train(model, digits(), recipe, parameterization=rule))
        states.append((copied(model.state_dict()), [(epoch["loss"], epoch["val_loss"]) for epoch in history]))
    assert same_bits(states[0][0], states[1][0]) and states[0][1] == states[1][1]
    assert not same_bits(states[0][0], make().state_dict())


# 4. The test split is never read by a search or a retraining. (That of ``digits()`` raises when it is read.)


@pytest.mark.parametrize("name", SEARCHES)
def test_nothing_is_chosen_on_the_test_split(name, tmp_path):
    with pytest.raises(AssertionError, match="the test split was read"):
        digits().test.labels  # noqa: B018
    model = lenet()
    ticket = find(name, model, {"work": tmp_path})
    retrained(model, ticket, work=tmp_path)


# 5. The density reported is the fraction kept, and the one asked for.


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("density", [0.5, 0.137])
@pytest.mark.parametrize("name", SEARCHES)
def test_a_ticket_has_the_density_asked_for(name, density, per_layer):
    model = lenet()
    ticket = find(name, model, density=density, per_layer=per_layer)
    layers = {name: model.get_parameter(name).numel() for name in weights.prunable(model)}
    kept = {name: int(mask.sum()) for name, mask in ticket.mask.items()}
    if per_layer:
        assert kept == {name: round(density * size) for name, size in layers.items()}
    assert list(kept) == list(layers) and abs(sum(kept.values()) - density * sum(layers.values())) <= 0.5 + per_layer
    assert ticket.density == sum(kept.values()) / sum(layers.values())
    retrained(model, ticket)
    alive = sum(int(model.get_parameter(name).count_nonzero()) for name in layers)
    assert alive <= sum(kept.values()) and alive > 0.9 * sum(kept.values())


# 6. A run that was killed and resumed ends in the same bits as one that was not.


class Cut(images.Split):
    """Breaks off in the middle of an epoch."""

    at = 0

    def batches(self, batch_size, *, epoch=0, seed=0):
        for step, batch in enumerate(super().batches(batch_size, epoch=epoch, seed=seed)):
            if (epoch, step) == (self.at, 4):
                raise KeyboardInterrupt
            yield batch


def cut(epoch):
    split = digits().train
    broken = Cut(split.images, split.labels, split.mean, split.std)
    object.__setattr__(broken, "at", epoch)
    return replace(digits(), train=broken)


def relaxed(model):
    return RelaxedMask(model, weights.prunable(model), regularizers.create("log"), 1e-3, 10.0)


def sigmoid(model):
    start = {name: torch.zeros_like(model.get_parameter(name)) for name in weights.prunable(model)}
    return continuous.SigmoidMask(model, start, 1e-6, 1.0)


RULES = {
    "dense": lambda model: None,
    "fixed": lambda model: FixedMask(model, masks.random(model, 0.3, 0)),
    "relaxed": relaxed,
    "calibrated": lambda model: CalibratedMask(model, weights.prunable(model), regularizers.Log(), 200, steps=36),
    "feedback": lambda model: FeedbackMask(
        model, weights.prunable(model), regularizers.Log(), 200, steps=36, controller="pi"
    ),
    "frozen": lambda model: FrozenMask(model, weights.prunable(model), regularizers.Log(), 200, steps=36),
    "popup": lambda model: PopupMask(model, weights.prunable(model), 0.2, seed=0),
    "sigmoid": sigmoid,
    "gradual": lambda model: gradual.GradualMask(model, weights.prunable(model), gradual.Config(density=0.1)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("make, optimizer", [(lenet, "sgd"), (convnet, "adamw"), (Dropping, "adamw")])
def test_a_training_broken_off_in_any_epoch_ends_in_the_same_bits(rule, make, optimizer, tmp_path):
    recipe = Recipe(
        epochs=4, optimizer=optimizer, lr=0.1 if optimizer == "sgd" else 0.003, weight_decay=1e-3, schedule="step",
    )  # fmt: skip

    def run(data, work=None):
        model = make()
        held = RULES[rule](model)
        history = train(model, data, recipe, parameterization=held, work=work)
        return copied(model.state_dict()), copied(held.state()) if held else {}, timeless(history)

    whole = run(digits())
    for epochs in ([0], [1], [2], [3], [1, 3]):
        work = tmp_path / "".join(map(str, epochs))
        for epoch in epochs:
            with pytest.raises(KeyboardInterrupt):
                run(cut(epoch), work)
            assert len(list(work.iterdir())) == (epoch > 0)
        resumed = run(digits(), work)
        assert same_bits(resumed[0], whole[0]) and same_bits(resumed[1], whole[1]) and resumed[2] == whole[2]


@pytest.mark.parametrize("lam", [1e-4, None], ids=["by hand", "calibrated"])
def test_a_search_and_its_retraining_survive_ten_kills(lam, tmp_path):
    """SIGKILL at random moments; each start is a new process, forked from one that holds nothing but imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "lottery_lib.experiments.ticket_run", "torch.optim"])
    moments = random.Random(0)

    def start(folder):
        folder.mkdir(exist_ok=True)
        process = context.Process(target=search_and_retrain, args=(folder, lam))
        process.start()
        return process

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    start(tmp_path / "warm").join()  # imports
    began = time.perf_counter()
    start(undisturbed).join()
    duration, kills, broken = time.perf_counter() - began, 0, set()
    while kills < 10 or len(broken) < 2:  # ten, and not all in one training: the machine's speed changes
        if kills >= 10:
            shutil.rmtree(killed)
        process = start(killed)
        process.join(duration * moments.uniform(0.1, 0.7))
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            broken.add(len(list((killed / "work").glob("*.safetensors"))))
        else:  # it came to its end between two kills: once more from the start
            assert process.exitcode == 0
            shutil.rmtree(killed)
    last = start(killed)
    last.join()
    assert last.exitcode == 0
    assert (killed / "result").read_bytes() == (undisturbed / "result").read_bytes()


# 7. One seed, one result.


@pytest.mark.parametrize("make", [lenet, Dropping])
@pytest.mark.parametrize("name", SEARCHES)
def test_one_config_gives_one_result(name, make):
    results = []
    for seed in (0, 0, 1):
        model = make()
        torch.rand(5)
        rounds = {"rounds": (0.5, 0.2)} if name in ITERATIVE else {}
        ticket = find(name, model, seed=seed, **rounds)
        history = retrained(model, ticket, seed=seed)
        results.append((masks.digest(ticket.mask), copied(model.state_dict()), timeless(history)))
    first, again, other = results
    assert first[0] == again[0] and first[2] == again[2] and same_bits(first[1], again[1])
    assert not same_bits(first[1], other[1])
    assert (first[0] == other[0]) == (name == "synflow")  # which looks at no data


def test_a_tensor_pair_is_as_repeatable_as_a_data_set():
    results = []
    for seed in (0, 0, 1):
        model = perceptron()
        train(model, batches.own(next(noise().train.in_order())), replace(LEAST["recipe"], batch_size=16), seed=seed)
        results.append(copied(model.state_dict()))
    assert same_bits(results[0], results[1]) and not same_bits(results[0], results[2])
