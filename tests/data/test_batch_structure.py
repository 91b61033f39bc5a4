"""structure.py: batches of any structure keep it, whatever is done to their tensors."""

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from lottery_lib.data import structure

X = torch.arange(6.0).view(3, 2)
Point = namedtuple("Point", "x y")


class Encoding(UserDict):
    """As transformers' BatchEncoding is made."""


@dataclass(frozen=True)
class Sample:
    x: Any
    y: Any = None


class Graph:
    """Moves by itself, as a graph of PyTorch Geometric does, and shows little of what is in it."""

    def __init__(self, x):
        self.x, self.whole = x, self

    def to(self, device):
        return Graph(self.x.to(device))


@pytest.mark.parametrize(
    "batch",
    [
        X, (X, X), Sample(X, [X]), [X, X, X], {"a": X, "b": {"c": [X]}}, OrderedDict(a=X), Encoding(a=X, b=X),
        Point(X, (X, X)),        ((X, X), [{"boxes": X}, {"boxes": X}]), {"a": X.numpy(), "b": X}, (X.numpy()[::-1], X),
    ],
)  # fmt: skip
def test_a_batch_keeps_its_structure(batch):
    doubled = structure.mapped(lambda leaf: 2 * leaf, batch)
    assert type(doubled) is type(batch)
    before, after = structure.leaves(batch), structure.leaves(doubled)
    assert len(before) == len(after) > 0
    assert all(torch.equal(2 * a, b) for a, b in zip(before, after))
    assert structure.size(batch) == 3 and structure.lengths(batch) == {3}
    assert all(torch.equal(a[1:], b) for a, b in zip(before, structure.leaves(structure.rows(batch, slice(1, None)))))


@pytest.mark.parametrize(
    "batch",
    [Graph(X), pack_sequence([X]), (X, Graph(X)), (X, X[:1]), {}],
    ids=["graph", "packed", "mixed", "uneven", "none"],
)
def test_what_has_no_samples_along_its_first_dimension_is_not_cut(batch):
    assert not structure.sliceable(batch) and structure.sliceable((X, {"a": X}))


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_fingerprints_tell_sparse_tensors_apart(layout):
    given = [X, X.flip(0), X.double(), torch.zeros(3, 2), torch.zeros(4, 2)]
    found = [structure.fingerprint(each.to_sparse(layout=layout)) for each in given]
    assert len({*found, structure.fingerprint(X)}) == len(given) + 1
    assert found[0] == structure.fingerprint(X.clone().to_sparse(layout=layout))


def test_the_batch_itself_is_left_alone():
    batch, array = Encoding(a=X), np.ones(3)
    moved = structure.moved((batch, array), "meta")
    assert batch["a"] is X and moved[0]["a"].device.type == "meta" == moved[1].device.type
    assert structure.moved(array, "cpu").add_(1).sum() == 6 and array.sum() == 3


def test_what_is_no_tensor_stays_and_what_moves_by_itself_moves():
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    words, number, names, none = structure.moved((packed, 3, np.array(["a", "b"]), None), "cpu")
    assert torch.equal(words.data, packed.data) and number == 3 and names.tolist() == ["a", "b"] and none is None
    assert structure.size(({"name": "a"}, 3)) == 1


def test_samples_that_do_not_lie_along_the_first_dimension_show():
    images = [torch.zeros(3, 8, 8), torch.zeros(3, 9, 7)]
    assert len(structure.lengths((images, [{"boxes": torch.zeros(2, 4)}, {"boxes": torch.zeros(1, 4)}]))) == 3
    assert structure.lengths((torch.zeros(4), torch.tensor(1.0))) == {4, -1}


def test_batches_are_told_apart_by_keys_types_and_bits():
    batches = [
        (X, X), (X, X + 1), (X, X.double()), (X, X.numpy()), {"a": X, "b": X}, {"a": X, "c": X}, (X, 3), (X, 4),
        (X.view(2, 3), X),
    ]  # fmt: skip
    long = torch.arange(5000)  # whose text leaves out the middle
    edited = long.clone()
    edited[2500] = 0
    batches += [kind(x) for kind in (Sample, Graph) for x in (long, edited)]
    assert len({structure.fingerprint(batch) for batch in batches}) == len(batches)
    assert structure.fingerprint(Graph(long)) == structure.fingerprint(Graph(long.clone()))


class Noted(torch.Tensor):
    """Says how it is moved, and stays."""

    def to(self, device, non_blocking=False):
        self.moves = (device, non_blocking)
        return self


def test_a_gpu_fetches_its_batch_meanwhile_and_the_cpu_waits():
    for device, meanwhile in (("cuda", True), (torch.device("cuda", 1), True), ("cpu", False)):
        assert structure.moved([X.as_subclass(Noted)], device)[0].moves == (device, meanwhile)
