"""Networks that people write themselves: recurrent ones, a U-Net, a regression, several labels, a language model."""

import math

import numpy as np
import pytest
import torch
from journey import travel
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

import lottery_lib as lottery

GENERATOR = torch.Generator().manual_seed(0)
SERIES, CLASSES = torch.randn(6, 5, 8, generator=GENERATOR), torch.arange(6) % 3
MAPS = torch.randn(4, 1, 16, 16, generator=GENERATOR)
TEXT = torch.randint(9, (4, 7), generator=GENERATOR)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.read = kind(8, 12, num_layers=2, batch_first=True), nn.Linear(12, 3)

    def forward(self, series):
        return self.read(self.cells(series)[0][:, -1])


class UNet(nn.Module):
    """Down and up again, with the finer maps beside the coarser ones."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.coarse = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(inplace=True))
        self.up, self.read = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, 2, 1)

    def forward(self, maps):
        fine = self.fine(maps)
        return self.read(torch.cat([fine, self.up(self.coarse(fine))], 1))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.cells = nn.Embedding(9, 12), nn.GRU(12, 12, batch_first=True)
        self.read = nn.Linear(12, 9, bias=False)
        self.read.weight = self.words.weight  # tied

    def forward(self, text):
        return self.read(self.cells(self.words(text))[0])


def share_right(model, data):
    """Of rows of scores (…, V) along the last dimension, in percent."""
    inputs, labels = data.val.samples
    scores = model(inputs)
    scores = scores.movedim(1, -1) if scores.ndim == 4 else scores
    rows = zip(scores.flatten(0, -2).tolist(), labels.flatten().tolist())
    hits = [row.index(max(row)) == label for row, label in rows]
    return 100 * sum(hits) / len(hits)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks(kind, tmp_path):
    data = lottery.own((SERIES, CLASSES), (SERIES, CLASSES))
    travel(lambda: Recurrent(kind), data, tmp_path, again=share_right)


def test_a_unet(tmp_path):
    pair = MAPS, (MAPS[:, 0] > 0).long()
    travel(UNet, lottery.own(pair, pair), tmp_path, again=share_right)


def perceptron(outputs):
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(40, 16), nn.ReLU(), nn.Linear(16, outputs))


def test_a_regression_on_numpy_arrays(tmp_path):
    targets = np.asarray(SERIES.sum((1, 2)))[:, None]
    pair = SERIES.numpy(), targets

    def again(model, data):
        errors = (model(SERIES).numpy() - targets).astype(float) ** 2
        return float(errors.mean())

    travel(perceptron(1), lottery.own(pair, pair), tmp_path, "val_loss", again, loss=mse_loss)


def exact_matches(model, batches):
    """The share of samples all of whose labels are right."""
    rows = [((model(x) > 0) == (y > 0)).all(1) for x, y in batches]
    return float(torch.cat(rows).float().mean())


def test_several_labels_at_once(tmp_path):
    labels = (SERIES[:, :4, 0] > 0).float()

    def again(model, data):
        rows = zip(model(SERIES).tolist(), labels.tolist())
        hits = [all((score > 0) == (label > 0) for score, label in zip(*row)) for row in rows]
        return float(np.float32(sum(hits) / len(hits)))

    data = lottery.own((SERIES, labels), (SERIES, labels))
    loss = binary_cross_entropy_with_logits
    travel(perceptron(4), data, tmp_path, "val_metric", again, loss=loss, metric=exact_matches)


def next_words(outputs, labels):
    return cross_entropy(outputs.flatten(0, 1), labels.flatten())


@pytest.mark.parametrize("names", [None, ("words.weight", "cells.weight_hh_l0")])
def test_a_language_model_with_tied_words(names, tmp_path):
    pair = TEXT[:, :-1], TEXT[:, 1:]
    data = lottery.own(pair, pair)
    travel(Language, data, tmp_path, again=share_right, names=names, loss=next_words)

    def perplexity(model, data):
        logs = []
        for scores, words in zip(model(pair[0]).double().tolist(), pair[1].tolist()):
            logs += [math.log(sum(map(math.exp, row))) - row[word] for row, word in zip(scores, words)]
        return sum(logs) / len(logs)

    travel(Language, data, tmp_path, "val_loss", perplexity, names=names, loss=next_words)
