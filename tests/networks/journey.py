"""What a reader does with a network of theirs: search, retrain, save, load, export; and the metric, computed again."""

import math
import warnings

import torch

import lottery_lib as lottery

DENSITY = 0.5
RECIPE = lottery.Recipe(epochs=1, batch_size=2, lr=1e-3, momentum=0.0)


def images(size, channels=3, count=4):
    """As many images as labels, of four classes, twice: to train and to validate on."""
    inputs = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))
    pair = inputs, torch.arange(count) % 4
    return lottery.own(pair, pair)


def accuracy(model, data):
    """In percent, a sample at a time, in plain Python."""
    right = total = 0
    for inputs, labels in data.val.in_order():
        for image, label in zip(inputs, labels.tolist()):
            scores = model(image[None])[0].tolist()
            right, total = right + (scores.index(max(scores)) == label), total + 1
    return 100 * right / total


def travel(make, data, folder, key="val_accuracy", again=accuracy, names=None, **options):
    """Every station of the journey, and at each what a reader relies on."""
    torch.manual_seed(0)
    model = make()
    config = lottery.concave.Config(density=DENSITY, recipe=RECIPE, lam=1e-4, mask_lr=1e3, names=names)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(no gradient reached|does not tell)")
        warnings.filterwarnings("ignore", message="no signal")  # two images may well leave a rectifier silent
        warnings.filterwarnings("ignore", message=".*stay dense")
        ticket = lottery.concave.search(model, data, config, **options)
        history = lottery.retrain(model, data, ticket, RECIPE, **options)
    size = sum(kept.numel() for kept in ticket.mask.values())
    assert ticket.density == round(DENSITY * size) / size
    assert all(not model.get_parameter(name)[~kept].any() for name, kept in ticket.mask.items())

    model.eval()
    with torch.no_grad():
        told, found = history.epochs[-1][key], again(model, data)
    assert told == found if key != "val_loss" else math.isclose(told, found, rel_tol=1e-5)

    ticket.save(folder / "ticket.safetensors")
    loaded, other = lottery.Ticket.load(folder / "ticket.safetensors"), make()
    assert lottery.masks.digest(loaded.mask) == lottery.masks.digest(ticket.mask)
    loaded.apply(other)
    start = ticket.state()
    assert all(torch.equal(other.get_parameter(name), start[name] * kept) for name, kept in ticket.mask.items())

    other.load_state_dict(lottery.to_state_dict(model, ticket.mask))
    with torch.no_grad():
        assert again(other.eval(), data) == found
    for name, matrix in lottery.to_csr(model, ticket.mask).items():
        assert matrix.values().numel() == int(model.get_parameter(name).count_nonzero())
