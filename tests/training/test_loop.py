"""training.py: recipes and schedules, the loop against autograd, evaluation, and the work folder."""

import itertools
import math
import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss
from toy import RECIPE, Dropping, convnet, copied, digits, find, lenet, noise, perceptron, same_bits, timeless

from lottery_lib import masks, randomness, regularizers, states, weights
from lottery_lib.data import batches
from lottery_lib.errors import LotteryError
from lottery_lib.methods import continuous
from lottery_lib.relaxation import FixedMask, RelaxedMask
from lottery_lib.training import checkpoints, loop
from lottery_lib.training.evaluation import evaluate, measured
from lottery_lib.training.loop import train
from lottery_lib.training.recipes import Recipe


@pytest.mark.parametrize(
    "schedule, shares",
    [
        ("constant", {0: 1, 0.3: 1, 1: 1}),
        ("linear", {0: 1, 0.25: 0.75, 1: 0}),
        ("step", {0: 1, 0.4999: 1, 0.5: 0.1, 0.7499: 0.1, 0.75: 0.01, 1: 0.01}),
        ("one-cycle", {0: 0.1, 0.15: 0.55, 0.3: 1, 0.65: 0.5, 1: 0}),
    ],
)
def test_schedules_at_their_corners(schedule, shares):
    recipe = Recipe(lr=0.2, schedule=schedule)
    assert {x: recipe.lr_at(x) / 0.2 for x in shares} == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize(
    "field, message",
    [
        ({"epochs": 0}, "epochs = 0: must be > 0"),
        ({"epochs": 2.5}, "epochs = 2.5: must be a whole number"),
        ({"batch_size": -1}, "batch_size = -1: must be > 0"),
        ({"batch_size": "many"}, "batch_size = 'many': must be a whole number"),
        ({"lr": math.nan}, "lr = nan: must be a finite number"),
        ({"momentum": -0.1}, "momentum = -0.1: must be in [0, 1)"),
        ({"momentum": 1.5}, "momentum = 1.5: must be in [0, 1)"),
        ({"epochs": True}, "epochs = True: must be a whole number"),
        ({"fast": "no"}, "fast = 'no': must be True or False"),
        ({"nesterov": 1}, "nesterov = 1: must be True or False"),
        ({"weight_decay": math.nan}, "weight_decay = nan: must be a finite number"),
        ({"nesterov": True, "momentum": 0}, "nesterov = True: needs a momentum > 0"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam'; did you mean 'adamw'?"),
        ({"optimizer": "adamw"}, "lr = 0.1 is for sgd, and far too much for adamw; give one, mostly some 0.001"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'; known: constant, linear, step, one-cycle"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; did you mean 'bf16'?"),
    ],
)
def test_recipes_out_of_range_are_refused(field, message):
    with pytest.raises(LotteryError) as error:
        Recipe(**field)
    assert str(error.value) == message


def test_a_number_of_epochs_is_no_recipe():
    with pytest.raises(LotteryError, match="^recipe is of type int; must be as Recipe"):
        train(lenet(), digits(), 3)


def test_the_loop_is_sgd_on_both_factors_with_decay_on_theta_alone():
    """Momentum, Nesterov, weight decay and the schedule by hand, in float64; biases are dense and decayed too."""
    recipe = Recipe(epochs=3, batch_size=20, lr=0.5, momentum=0.8, nesterov=True, weight_decay=0.02, schedule="linear")
    data, lam, mask_lr = noise(dtype=torch.float64), 0.05, 0.7
    model = perceptron(dtype=torch.float64)
    free = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    m = {name: torch.ones_like(free[name]).requires_grad_() for name in weights.prunable(model)}
    velocity, steps, losses = dict.fromkeys(free, 0.0), 3, []
    for epoch in range(3):
        for step, (inputs, labels) in enumerate(data.train.batches(20, epoch=epoch, seed=4)):
            lr = recipe.lr * (1 - (epoch + step / steps) / 3)
            loss = cross_entropy(functional_call(model, free | {k: free[k] * m[k] for k in m}, inputs), labels)
            penalty = lam * sum((torch.log1p(v / 0.1) / math.log1p(10)).sum() for v in m.values())
            gradients = torch.autograd.grad(loss + penalty, [*free.values(), *m.values()])
            losses.append(loss.item())
            with torch.no_grad():
                for name, gradient in zip([*free], gradients):
                    gradient = gradient + 0.02 * free[name]
                    velocity[name] = 0.8 * velocity[name] + gradient
                    free[name] -= lr * (gradient + 0.8 * velocity[name])
                for name, gradient in zip(m, gradients[len(free) :]):
                    m[name].sub_(mask_lr * gradient).clamp_(0, 1)

    rule = RelaxedMask(model, weights.prunable(model), regularizers.create("log"), lam, mask_lr)
    history = train(model, data, recipe, parameterization=rule, seed=4)
    expected = free | {name: free[name] * m[name] for name in m}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-10)
    for name, value in zip(rule.names, rule.m):
        torch.testing.assert_close(value, m[name].detach(), rtol=0, atol=1e-10)
    assert [epoch["loss"] for epoch in history.epochs] == pytest.approx([sum(losses[i : i + 3]) / 3 for i in (0, 3, 6)])


def test_adamw_decays_weights_beside_the_gradient():
    recipe, data = Recipe(epochs=2, batch_size=20, optimizer="adamw", lr=0.01, weight_decay=0.5), noise()
    model, plain = perceptron(), perceptron()
    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=0.5)
    for epoch in range(2):
        for step, (inputs, labels) in enumerate(data.train.batches(20, epoch=epoch, seed=0)):
            optimizer.param_groups[0]["lr"] = 0.01 * (1 - (epoch + step / 3) / 2)
            optimizer.zero_grad()
            cross_entropy(plain(inputs), labels).backward()
            optimizer.step()
    train(model, data, recipe)
    assert same_bits(model.state_dict(), plain.state_dict())


def test_a_mask_learns_nothing_from_weight_decay():
    m = []
    for decay in (0.0, 0.5):
        model, flat = perceptron(), replace(RECIPE, epochs=1, lr=1e-30, weight_decay=decay)  # θ stays, m moves
        rule = RelaxedMask(model, weights.prunable(model), regularizers.create("l1"), 0.01, 1.0)
        train(model, noise(), flat, parameterization=rule)
        m.append(copied(dict(zip(rule.names, rule.m))))
    assert same_bits(*m) and any((value < 1).any() for value in m[0].values())


def test_history_tells_what_happened():
    model = lenet()
    rule = RelaxedMask(model, weights.prunable(model), regularizers.create("log"), 1e-3, 10.0)
    history = train(model, digits(), RECIPE, parameterization=rule)
    assert [epoch["epoch"] for epoch in history.epochs] == [0, 1, 2]
    assert set(history.epochs[0]) == {"epoch", "loss", "val_loss", "val_accuracy", "density", "penalty", "seconds"}
    assert history.val_accuracy == history.epochs[-1]["val_accuracy"] == evaluate(model, digits().val)["accuracy"]
    assert history.seconds == sum(epoch["seconds"] for epoch in history.epochs) > 0
    assert history.val_accuracy > 50 and history.epochs[-1]["density"] < 1
    assert set(train(perceptron(), noise(), RECIPE).epochs[0]) == {"epoch", "loss", "seconds"}


def test_a_split_training_goes_through_the_same_epochs():
    parts = [train(lenet(), digits(), RECIPE, start=start, stop=stop) for start, stop in ((0, 1), (1, 3), (2, 2))]
    assert [[epoch["epoch"] for epoch in part.epochs] for part in parts] == [[0], [1, 2], []]
    late = replace(RECIPE, epochs=1)
    model, other = lenet(), lenet()
    train(model, digits(), RECIPE, start=2)  # the last third of the schedule, and the third epoch's batches
    train(other, digits(), late)
    assert not same_bits(model.state_dict(), other.state_dict())


@pytest.mark.parametrize("span", [{"start": 4}, {"start": 2, "stop": 1}, {"stop": 4}, {"start": -1}])
def test_epochs_outside_the_recipe_are_refused(span):
    with pytest.raises(LotteryError, match="do not lie within the recipe's 3$"):
        train(lenet(), digits(), RECIPE, **span)


@pytest.mark.parametrize("span, named", [({"start": "0"}, "start = '0'"), ({"stop": 1.5}, "stop = 1.5")])
def test_an_epoch_is_a_whole_number(span, named):
    with pytest.raises(LotteryError, match=f"^{named}: must be an epoch of the recipe, a whole number$"):
        train(lenet(), digits(), RECIPE, **span)


def test_what_is_no_network_is_not_trained():
    with pytest.raises(LotteryError, match="^model is of type str; must be a torch.nn.Module$"):
        train("lenet-300-100", digits(), RECIPE)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_and_leaves_no_checkpoint(value, tmp_path):
    steps = itertools.count()

    def diverges(outputs, labels):
        late = outputs.requires_grad and next(steps) > 2  # than the dry run
        return cross_entropy(outputs, labels) + (value if late else 0)

    with pytest.raises(
        LotteryError, match="the loss is not finite in epoch 0; lower lr = 0.1, or .* in the data is not"
    ):
        train(lenet(), digits(), RECIPE, loss=diverges, work=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_covered_weight_without_gradient_is_named():
    model = lenet()
    covered = masks.ones(model)
    model.fc2.weight.requires_grad_(False)
    with pytest.raises(LotteryError, match="^'fc2.weight' gets no gradient .* leave it out of names"):
        train(model, digits(), RECIPE, parameterization=FixedMask(model, covered))
    start = model.fc2.weight.clone()
    train(model, digits(), RECIPE, parameterization=FixedMask(model, masks.ones(model, ["fc1.weight"])))
    assert torch.equal(model.fc2.weight, start)  # frozen stays frozen


def test_bf16_computes_in_half_and_keeps_weights_whole():
    seen, model, plain = [], lenet(), lenet()

    def loss(outputs, labels):
        seen.append(outputs.dtype)
        return cross_entropy(outputs, labels)

    recipe = replace(RECIPE, precision="bf16")
    rule = RelaxedMask(model, weights.prunable(model), regularizers.create("log"), 1e-4, 10.0)
    history = train(model, digits(), recipe, parameterization=rule, loss=loss)
    assert set(seen) == {torch.bfloat16, torch.float32} and history.val_accuracy > 50  # evaluated in float32
    assert all(t.dtype == torch.float32 for t in (*model.parameters(), *rule.m, *rule.theta))
    train(plain, digits(), RECIPE)
    assert not same_bits(model.state_dict(), plain.state_dict())


def test_progress_is_a_bar_of_steps_with_loss_and_density(capsys):
    model = lenet()
    train(model, digits(), RECIPE)
    assert not capsys.readouterr().err
    rule = RelaxedMask(model, weights.prunable(model), regularizers.create("log"), 1e-4, 10.0)
    train(model, digits(), RECIPE, parameterization=rule, progress=True)
    shown = capsys.readouterr().err
    steps = 3 * digits().train.steps(128)
    assert f"{steps}/{steps}" in shown and "loss=" in shown and "density=" in shown


def test_the_readers_random_numbers_go_on_as_they_were(tmp_path):
    model = Dropping()
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    train(model, digits(), RECIPE, work=tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_every_seed_and_epoch_draws_its_own_numbers():
    drawn = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0)):
        with randomness.seeded(torch.device("cpu"), seed, epoch):
            drawn.append(torch.rand(1).item())
    assert len(set(drawn)) == 5


def test_accuracy_and_loss_are_over_images_whatever_the_batches():
    generator = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(1500, 4, generator=generator), torch.randint(4, (1500,), generator=generator)
    split = batches.own((outputs, labels)).train  # in batches of 1000 and 500
    metrics = evaluate(nn.Sequential(nn.Dropout(0.9)).train(), split)  # off while evaluated
    hits = sum(max(range(4), key=row.__getitem__) == label for row, label in zip(outputs.tolist(), labels.tolist()))
    assert metrics["accuracy"] == 100 * hits / 1500
    assert metrics["loss"] == pytest.approx(cross_entropy(outputs, labels).item(), rel=1e-5)


def test_accuracy_of_tokens_counts_every_token():
    outputs = torch.zeros(2, 3, 4)  # (N, C, T)
    labels = torch.tensor([[0, 0, 1, 2], [2, 1, 1, 0]])
    outputs[:, 1] = 1.0
    metrics = evaluate(nn.Identity(), batches.own((outputs, labels)).train)
    assert metrics["accuracy"] == 100 * 3 / 8


def test_a_regression_has_no_accuracy_and_evaluation_leaves_the_mode_alone():
    split = batches.own((torch.ones(6, 2), torch.zeros(6, 2))).train
    for mode in (True, False):
        model = nn.Identity().train(mode)
        assert evaluate(model, split, mse_loss) == {"loss": 1.0} and model.training is mode


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    model = convnet()
    before = copied(model.state_dict())
    evaluate(model, digits().val)
    assert same_bits(model.state_dict(), before)


# The work folder


@pytest.fixture
def epochs(monkeypatch):
    """The epochs of training that were in fact gone through, in order."""
    gone, original = [], type(digits().train).batches

    def counted(self, *args, **kwargs):
        gone.append(kwargs["epoch"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(digits().train), "batches", counted)
    return gone


def test_a_finished_training_is_read_not_repeated(tmp_path, epochs):
    first, second = lenet(), lenet()
    history = train(first, digits(), RECIPE, work=tmp_path / "made" / "for it")
    assert train(second, digits(), RECIPE, work=tmp_path / "made" / "for it").epochs == history.epochs
    assert epochs == [0, 1, 2] and same_bits(first.state_dict(), second.state_dict())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.suffix for path in files] == [".safetensors"]


def test_an_interrupted_training_goes_on_where_it_was(tmp_path, epochs, monkeypatch):
    plain = lenet()
    train(plain, digits(), RECIPE)
    del epochs[:]
    save = checkpoints.Checkpoint.save

    def interrupted(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints.Checkpoint, "save", interrupted)
        train(lenet(), digits(), RECIPE, work=tmp_path)
    model = lenet()
    train(model, digits(), RECIPE, work=tmp_path)
    assert epochs == [0, 1, 2] and same_bits(model.state_dict(), plain.state_dict())


def flipped(content):
    middle = len(content) * 2 // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def shorter_history(content):
    return content.replace(b'\\"epoch\\": 1', b'\\"epoch\\": 7')


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    "damage",
    [lambda c: b"", lambda c: c[:5], lambda c: c[: len(c) // 2], lambda c: c[:-1], flipped, shorter_history, None],
)
def test_a_damaged_checkpoint_is_ignored_and_replaced(damage, complete, tmp_path, monkeypatch, epochs):
    plain = lenet()
    history = train(plain, digits(), RECIPE)
    if complete:
        train(lenet(), digits(), RECIPE, work=tmp_path)
    else:
        with (
            monkeypatch.context() as patch,
            pytest.raises(LotteryError, match="^validation after epoch 2 fails: Lookup"),
        ):
            patch.setattr(loop, "measured", fails_at(3))
            train(lenet(), digits(), RECIPE, work=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage is None:
        save_file({"something": torch.ones(3)}, path)  # a whole file, but not a checkpoint
    else:
        path.write_bytes(damage(whole))
        assert path.read_bytes() != whole
    del epochs[:]
    model = lenet()
    assert timeless(train(model, digits(), RECIPE, work=tmp_path)) == timeless(history)
    assert epochs == [0, 1, 2] and same_bits(model.state_dict(), plain.state_dict())
    assert timeless(train(lenet(), digits(), RECIPE, work=tmp_path)) == timeless(history) and len(epochs) == 3


def fails_at(call):
    calls = []

    def fails(*args):
        calls.append(args)
        if len(calls) == call:
            raise LookupError
        return measured(*args)

    return fails


def test_processes_side_by_side_may_make_the_same_training(tmp_path, monkeypatch):
    histories = []

    def overtaken(*args):
        save_file(*args)
        with monkeypatch.context() as patch:  # another process makes all of it before this one renames its file
            patch.setattr(checkpoints, "save_file", save_file)
            patch.setattr(os, "getpid", lambda: -1)
            histories.append(train(lenet(), digits(), RECIPE, work=tmp_path))

    monkeypatch.setattr(checkpoints, "save_file", overtaken)
    model = lenet()
    histories.append(train(model, digits(), RECIPE, work=tmp_path))
    plain = lenet()
    histories.append(train(plain, digits(), RECIPE))
    assert all(timeless(history) == timeless(histories[-1]) for history in histories)
    assert same_bits(model.state_dict(), plain.state_dict()) and len(list(tmp_path.iterdir())) == 1


def test_methods_share_their_dense_training(tmp_path, epochs):
    work = {"options": {"work": tmp_path}}
    find("one-shot", density=0.1, **work)
    assert epochs == [0, 1, 2]
    find("one-shot", density=0.2, **work)  # another density
    find("one-shot", density=0.3, score="increase", **work)  # another score
    assert epochs == [0, 1, 2]
    find("lr-rewinding", density=0.2, rounds=(0.5, 0.2), **work)  # its first round
    assert epochs == [0, 1, 2] * 2 and len(list(tmp_path.iterdir())) == 2
    del epochs[:]
    find("random", rewind_epoch=1, **work)
    find("random", rewind_epoch=1, density=0.5, **work)
    assert epochs == [0]


def logits_squared():
    """Prints as the plain network does, and computes something else."""
    model = lenet()
    model.forward = lambda inputs: nn.Sequential.forward(model, inputs).square()
    return model


def fixed(seed):
    return lambda model: FixedMask(model, masks.random(model, 0.5, seed))


def relaxed(**fields):
    def make(model):
        options = {"shape": None, "lam": 1e-3, "mask_lr": 1.0} | fields
        penalty = regularizers.create("log", options.pop("shape"))
        return RelaxedMask(model, weights.prunable(model), penalty, **options)

    return make


DATA = batches.own((torch.linspace(-1, 1, 1200 * 64).view(1200, 1, 8, 8), torch.arange(1200) % 10))


def gated(start):
    def make(model):
        s = {name: torch.full_like(model.get_parameter(name), start) for name in weights.prunable(model)}
        return continuous.SigmoidMask(model, s, 0.0, 1.0)

    return make


def nearly():
    """The same network but for one bit, which no loss shows."""
    model = lenet()
    with torch.no_grad():
        model.fc1.weight[0, 0] *= 1 + 2e-7
    return model


def with_last_label(data, label):
    split = data.train
    inputs, labels = split.samples
    return batches.own((inputs, torch.cat([labels[:-1], torch.tensor([label])])))


def with_val(data, count):
    split = data.train
    inputs, labels = split.samples
    return batches.own((inputs, labels), (inputs[:count], labels[:count]))


BASE = {"make": lenet, "data": DATA, "recipe": replace(RECIPE, epochs=2), "rule": relaxed()}


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"recipe": replace(RECIPE, epochs=2, lr=0.2)},
        {"recipe": replace(RECIPE, epochs=2, precision="bf16")},
        {"stop": 1},
        {"start": 1},
        {"make": partial(lenet, 1)},
        {"make": logits_squared},
        {"rule": lambda model: None},
        {"rule": fixed(0)},
        {"rule": relaxed(lam=1e-2)},
        {"rule": relaxed(mask_lr=2.0)},
        {"rule": relaxed(shape=0.2)},
        {"rule": lambda model: relaxed(within=masks.random(model, 0.5, 0))(model)},
        {"data": with_last_label(DATA, 5)},
        {"data": with_val(DATA, 100)},
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
        {"loss": partial(cross_entropy, label_smoothing=0.1)},
        {"loss": lambda outputs, labels: 2 * cross_entropy(outputs, labels)},
    ],
    ids=lambda changed: ", ".join(changed),
)
def test_whatever_changes_a_training_changes_its_file(changed, tmp_path):
    def run(make, data, recipe, rule, **options):
        model = make()
        return train(model, data, recipe, parameterization=rule(model), work=tmp_path, **options)

    run(**BASE)
    run(**BASE | changed)
    assert len(list(tmp_path.iterdir())) == 2
    run(**BASE | changed)
    assert len(list(tmp_path.iterdir())) == 2  # and it is found again


def test_weights_masks_gates_and_validation_sets_are_told_apart(tmp_path):
    for make in (lenet, nearly):
        train(make(), DATA, RECIPE, work=tmp_path, stop=1)
    for start in (0.0, 0.1):
        model = lenet()
        train(model, DATA, RECIPE, parameterization=gated(start)(model), work=tmp_path, stop=1)
    for seed in (0, 1):
        model = lenet()
        train(model, DATA, RECIPE, parameterization=fixed(seed)(model), work=tmp_path, stop=1)
    for count in (100, 200):
        train(lenet(), with_val(DATA, count), RECIPE, work=tmp_path, stop=1)
    assert len(list(tmp_path.iterdir())) == 8


def test_a_loss_is_known_by_its_code(tmp_path):
    for smoothing in (0.0, 0.0, 0.1):
        for loss in (
            nn.CrossEntropyLoss(label_smoothing=smoothing),
            lambda outputs, labels, by=smoothing: cross_entropy(outputs, labels, label_smoothing=by),
        ):
            train(lenet(), DATA, RECIPE, loss=loss, work=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_is_not_float32_can_be_checkpointed(tmp_path):
    for _ in range(2):
        train(lenet().double(), noise_of(torch.float64), RECIPE, work=tmp_path)
        train(lenet().bfloat16(), noise_of(torch.bfloat16), RECIPE, work=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def noise_of(dtype):
    split = DATA.train
    inputs, labels = split.samples
    return batches.own((inputs.to(dtype), labels))


def test_how_weights_lie_in_memory_is_part_of_a_trainings_identity(tmp_path):
    """Sums are taken in another order there, so the bits are others."""
    for layout in (torch.contiguous_format, torch.channels_last):
        train(convnet().to(memory_format=layout), digits(), RECIPE, work=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, optimizer="adamw", lr=1e-3)])
def test_what_an_optimiser_keeps_lies_in_memory_as_before_when_a_training_goes_on(recipe, tmp_path, monkeypatch):
    made, kept = checkpoints.Checkpoint.resume, []

    def resume(self, model, rule, optimizer):
        history = made(self, model, rule, optimizer)
        kept.extend((weight, state) for weight, state in optimizer.state.items() if weight.ndim == 4)
        return history

    def stopped(*given, complete):
        save(*given, complete=complete)
        raise KeyboardInterrupt

    save = checkpoints.Checkpoint.save
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints.Checkpoint, "save", stopped)
        train(convnet().to(memory_format=torch.channels_last), digits(), recipe, work=tmp_path)
    monkeypatch.setattr(checkpoints.Checkpoint, "resume", resume)
    train(convnet().to(memory_format=torch.channels_last), digits(), recipe, work=tmp_path)
    assert len(kept) == 3
    for weight, state in kept:
        assert all(tensor.stride() == weight.stride() for tensor in state.values() if tensor.ndim)


class Forgetful(nn.Module):
    """Alike in evaluation, whatever p is."""

    def __init__(self, p, stop=False):
        super().__init__()
        self.fc, self.read, self.p, self.stop = nn.Linear(64, 16), nn.Linear(16, 10), p, stop

    def forward(self, inputs):
        hidden = self.fc(nn.functional.dropout(inputs.flatten(1) / 255, self.p, self.training))
        return self.read(hidden.detach() if self.stop else hidden)


@pytest.mark.parametrize(
    "change",
    [
        {"model": lambda: Forgetful(0.9)},
        {"model": lambda: Forgetful(0.0, stop=True)},  # alike in everything but the gradient
        {"data": lambda: own_digits(flipped=-1)},  # one label, in the last batch
        {"data": lambda: own_digits(rows=640)},
        {"recipe": replace(RECIPE, lr=0.01)},
        {"seed": 1},
    ],
)
def test_a_work_folder_never_answers_for_another_training(change, tmp_path):
    given = {"model": lambda: Forgetful(0.0), "data": own_digits, "recipe": RECIPE, "seed": 0}

    def run(model, data, recipe, seed):
        torch.manual_seed(0)
        train(network := model(), data(), recipe, seed=seed, work=tmp_path)
        return network

    run(**given)
    one = len(list(tmp_path.iterdir()))
    run(**given)
    assert len(list(tmp_path.iterdir())) == one == 1  # the same again is not trained again
    run(**(given | change))
    assert len(list(tmp_path.iterdir())) == 2


def own_digits(flipped=None, rows=704):
    inputs, labels = digits().train.images.float()[:rows], digits().train.labels.clone().long()[:rows]
    if flipped is not None:
        labels[flipped] = (labels[flipped] + 1) % 10
    pairs = torch.utils.data.TensorDataset(inputs, labels)
    return batches.own(torch.utils.data.DataLoader(pairs, batch_size=64, shuffle=True))


def test_probing_leaves_normalisation_as_it_was(tmp_path):
    def trained(work):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
        train(model, own_digits(), RECIPE, work=work)
        return model.state_dict()

    with_work, without = trained(tmp_path), trained(None)
    assert all(torch.equal(with_work[name], without[name]) for name in without)


@pytest.mark.parametrize(
    "outputs, labels, accuracy",
    [
        (torch.eye(4), torch.tensor([0, 1, 2, 2]), 75.0),
        (torch.eye(4), torch.tensor([0, 1, -100, 2]), 200 / 3),  # what is to be ignored does not count
        (torch.tensor([[1.0], [-1.0], [2.0]]), torch.tensor([1, 0, 0]), 200 / 3),  # a single logit, by its sign
        (torch.tensor([1.0, -1.0, 2.0]), torch.tensor([1, 0, 0]), 200 / 3),
        (torch.eye(3).repeat(2, 2, 1), torch.tensor([[0, 1, 2, 0, 1, 1]] * 2), 500 / 6),  # sequences (N, T, V)
        (torch.eye(3).repeat(2, 1, 2), torch.tensor([[0, 1, 2, 0, 1, 1]] * 2), 500 / 6),  # images (N, V, T)
        (torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1, 0], [0, 1]]), 75.0),  # several labels each
        (torch.eye(4), torch.tensor([[0], [1], [2], [2]]), 75.0),  # a dimension of size 1 says nothing
        (torch.eye(4).view(4, 4, 1, 1), torch.tensor([0, 1, 2, 2]), 75.0),
        (torch.eye(4).view(4, 1, 4), torch.tensor([[0], [1], [2], [2]]), 75.0),
        (torch.tensor([[[1.0]], [[-1.0]], [[2.0]]]), torch.tensor([1, 0, 0]), 200 / 3),
        (torch.ones(3, 1), torch.tensor([1, 7, 0]), None),  # counts
        (torch.ones(3, 1), torch.tensor([1, -1, 1]), None),  # signs
        (torch.ones(3, 1), torch.ones(3, 1), None),  # a regression
        (torch.ones(3, 1), torch.ones(3), None),
        (torch.eye(3), torch.eye(3), None),
    ],
)
def test_accuracy_is_told_where_labels_are_classes(outputs, labels, accuracy):
    found = evaluate(nn.Identity(), batches.own((outputs, labels)).train, loss=lambda outputs, labels: outputs.mean())
    assert found.get("accuracy") == (None if accuracy is None else pytest.approx(accuracy))


def by_token(outputs, labels):
    return cross_entropy(outputs.transpose(1, 2), labels)


def test_classes_lie_where_they_fit_every_batch():
    """Of sequences (N, T, V) some may be as long as there are classes."""

    def scored(length, classes=3):
        labels = torch.arange(length).remainder(classes).repeat(2, 1)
        return torch.eye(classes)[labels], labels

    both = [scored(3), scored(4), scored(3)]
    assert evaluate(nn.Identity(), batches.own(both).train, loss=by_token)["accuracy"] == 100
    outputs, labels = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]), torch.tensor([[1, 1]])
    square = batches.own([(outputs, labels)]).train
    assert evaluate(nn.Identity(), square)["accuracy"] == 100  # PyTorch's own: classes come second
    assert "accuracy" not in evaluate(nn.Identity(), square, loss=by_token)  # nobody can tell


def test_a_batch_that_cannot_be_read_does_not_hide_the_accuracy_of_the_others():
    single = [(torch.tensor([1.0, -1.0]), torch.tensor([1, 0])), (torch.tensor(1.0), torch.tensor([1]))]  # squeezed

    def squeezed(outputs, labels):
        return nn.functional.binary_cross_entropy_with_logits(outputs.view(-1), labels.float())

    class Split:
        def in_order(self):
            yield from single

    assert evaluate(nn.Identity(), Split(), loss=squeezed)["accuracy"] == 100
    pixels = torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[1, 255]]]])  # 255: not labelled
    assert evaluate(nn.Identity(), batches.own([pixels]).train, loss=lambda *given: given[0].mean())["accuracy"] == 100


def test_an_accuracy_does_not_come_and_go_with_what_is_answered():
    outputs, labels = torch.eye(2)[None], torch.tensor([[0, 1]])  # right by either reading
    assert "accuracy" not in evaluate(nn.Identity(), batches.own([(outputs, labels)]).train, loss=by_token)


def test_counts_of_which_some_batch_has_only_zeros_and_ones_have_no_accuracy():
    counts = [(torch.ones(2, 1), torch.tensor(labels)) for labels in ([0, 1], [1, 7], [1, 1])]
    assert "accuracy" not in evaluate(nn.Identity(), batches.own(counts).train, loss=lambda *given: given[0].mean())


def test_validation_draws_from_the_seed_alone_and_leaves_the_caller_s_generator():
    pair = torch.randn(64, 3), torch.zeros(64, dtype=torch.int64)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair), batch_size=32)

    def noisy(model, batch):
        return cross_entropy(model(batch[0] + torch.randn_like(batch[0])), batch[1])

    model, losses = nn.Linear(3, 2), []
    start = copied(model.state_dict())
    for caller in (1, 2):
        model.load_state_dict(start)
        torch.manual_seed(caller)
        before = torch.get_rng_state()
        history = train(model, batches.own(pair, loader), Recipe(epochs=1, batch_size=16), objective=noisy)
        assert torch.equal(torch.get_rng_state(), before)
        losses.append(history.epochs[-1]["val_loss"])
    assert losses[0] == losses[1]


def test_no_gradient_of_the_last_batch_is_left():
    model = lenet()
    train(model, digits(), RECIPE)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weights_that_are_not_finite_are_named_before_the_data():
    model = lenet()
    with torch.no_grad():
        model.fc2.weight[0, 0] = float("nan")
    with pytest.raises(LotteryError, match="before any step was taken: 'fc2.weight' is not finite; load or draw"):
        train(model, digits(), RECIPE)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(ignore_index=2), partial(cross_entropy, ignore_index=2)])
def test_what_a_loss_ignores_has_no_part_in_the_accuracy(loss):
    outputs = torch.eye(4)
    split = batches.own((outputs, torch.tensor([0, 1, 2, 2]))).train
    assert evaluate(nn.Identity(), split, loss=loss)["accuracy"] == 100
    far = nn.CrossEntropyLoss(ignore_index=255)  # as of maps of segments
    split = batches.own((outputs, torch.tensor([0, 2, 255, 255]))).train
    assert evaluate(nn.Identity(), split, loss=lambda *given: far(*given))["accuracy"] == 50


def test_what_is_no_split_is_not_evaluated_on():
    pair = torch.eye(4), torch.arange(4)
    for given in (pair, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair))):
        with pytest.raises(
            LotteryError, match="^a .* is no split to evaluate on; give data.train or data.val, of data = own"
        ):
            evaluate(nn.Identity(), given)


def test_a_regression_has_no_accuracy_and_says_so():
    pair = torch.randn(64, 3), torch.randn(64, 1)
    history = train(nn.Linear(3, 1), batches.own(pair, pair), Recipe(epochs=1, batch_size=16), loss=mse_loss)
    assert "val_loss" in history.epochs[-1] and "val_accuracy" not in history.epochs[-1]
    with pytest.raises(
        LotteryError, match="there is no accuracy: it needs a validation split whose labels are classes"
    ):
        history.val_accuracy  # noqa: B018


def test_training_on_a_cpu_leaves_the_generators_of_gpus_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("they were seeded"))
    train(lenet(), digits(), replace(RECIPE, epochs=1))


def test_labels_of_bytes_leave_no_class_out():
    """−100 as a byte is 156."""
    scores = torch.zeros(4, 200).index_fill(1, torch.tensor([156]), 1.0)
    for chosen, accuracy in ((156, 100), (155, 0)):
        labels = torch.full((4,), chosen, dtype=torch.uint8)
        assert evaluate(nn.Identity(), batches.own((scores, labels)).train)["accuracy"] == accuracy


def test_complex_outputs_have_a_loss_and_no_accuracy():
    data = batches.own((torch.ones(4, 3, dtype=torch.complex64), torch.tensor([0, 1, 2, 0])))
    assert evaluate(nn.Identity(), data.train, loss=lambda outputs, labels: outputs.abs().mean()) == {"loss": 1.0}


def test_a_metric_may_go_through_the_batches_as_often_as_it_likes():
    def twice(model, given):
        return sum(len(labels) for _ in range(2) for _, labels in given)

    data = batches.own((torch.eye(4), torch.tensor([0, 1, 2, 2])))
    assert evaluate(nn.Identity(), data.train, metric=twice)["metric"] == 2 * 4


def test_a_rule_of_another_network_is_refused():
    """It trained, and no weight was masked."""
    model, other = perceptron(), perceptron()
    before = states.snapshot(model)
    for rule, said in (
        (
            FixedMask(other, masks.ones(other, weights.prunable(other))),
            "^the parameterization was made of another network",
        ),
        ("relaxed", "^parameterization is of type str; must be"),
    ):
        with pytest.raises(LotteryError, match=said):
            train(model, noise(), RECIPE, parameterization=rule)
    assert same_bits(states.snapshot(model), before)


def test_a_training_is_not_taken_over_by_one_that_rounds_otherwise(tmp_path, monkeypatch):
    """A run that was held to one thread had the bits of one that was not, and said one thread."""

    def files():
        train(perceptron(), noise(), RECIPE, work=tmp_path)
        return len(list(tmp_path.iterdir()))

    assert files() == files() == 1
    for where, name, value in (
        (torch, "get_num_threads", lambda: 99), (torch.backends.cpu, "get_cpu_capability", lambda: "SSE"),
        (torch, "__version__", "1.0"),
    ):  # fmt: skip
        before = len(list(tmp_path.iterdir()))
        monkeypatch.setattr(where, name, value)
        assert files() == before + 1
