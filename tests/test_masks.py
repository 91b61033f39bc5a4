"""masks.py: exact counts, ties, and what a packed or shuffled mask keeps."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lottery_lib import masks, models
from lottery_lib.errors import LotteryError
from lottery_lib.weights import prunable

NAN, DEVICES = float("nan"), ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SHAPE = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
SHAPES = st.lists(SHAPE, min_size=1, max_size=4).map(lambda shapes: {f"layer{i}": s for i, s in enumerate(shapes)})
untimed = settings(deadline=None)
SEED, DENSITY = st.integers(0, 2**32), st.floats(1e-3, 1)


def draw(shapes, seed, levels=None):
    """Scores for each layer; ``levels`` rounds them to that many values, so that they tie."""
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    return {name: (s * levels).floor() / levels for name, s in scores.items()} if levels else scores


def half(shapes, seed):
    return masks.threshold(draw(shapes, seed), 0.5)


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors.values()])


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def lenet():
    return models.create("lenet-300-100", 10, (1, 28, 28))


def test_ones_covers_what_is_prunable(lenet):
    mask = masks.ones(lenet)
    assert list(mask) == prunable(lenet) and masks.density(mask) == 1
    assert list(masks.ones(lenet, ["fc3.weight", "fc1.weight"])) == ["fc1.weight", "fc3.weight"]
    masks.validate(mask, lenet)


def test_threshold_keeps_scores_of_alpha_and_above():
    mask = masks.threshold({"a": torch.tensor([0.1, 0.2, 0.3])}, 0.2)
    assert mask["a"].tolist() == [False, True, True]


@untimed
@given(SHAPES, DENSITY, SEED, st.sampled_from([None, 1, 3]))
def test_top_k_is_exact_and_takes_the_best_first_of_equals(shapes, density, seed, levels):
    scores = draw(shapes, seed, levels)
    mask = masks.top_k(scores, density)
    assert masks.shapes(mask) == shapes
    values = flat(scores).tolist()
    k = max(1, round(density * len(values)))
    best = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert flat(mask).nonzero().squeeze(1).tolist() == sorted(best)


@untimed
@given(SHAPES, DENSITY, SEED)
def test_top_k_per_layer_cuts_each_layer_to_the_density(shapes, density, seed):
    scores = draw(shapes, seed)
    mask = masks.top_k(scores, density, per_layer=True)
    assert list(mask) == list(scores)
    for name, m in mask.items():
        assert m.sum() == max(1, round(density * m.numel()))
        assert m.all() or scores[name][m].min() >= scores[name][~m].max()


@untimed
@given(SHAPES, DENSITY, SEED, st.booleans())
def test_top_k_within_an_earlier_mask_only_removes(shapes, density, seed, per_layer):
    scores = draw(shapes, seed, levels=4)
    within = masks.random(shapes, density, seed)
    scores = {name: torch.where(within[name], s, torch.inf) for name, s in scores.items()}  # pruned ones score highest
    weights = flat(scores).numel()
    within = dict(reversed(within.items()))  # matched by name
    if per_layer:
        k = {name: max(1, round(0.5 * density * s.numel())) for name, s in scores.items()}
        lacking = [name for name in k if within[name].sum() < k[name]]
        if lacking:
            with pytest.raises(LotteryError, match=f"in layer '{lacking[0]}'"):
                masks.top_k(scores, 0.5 * density, within, per_layer=True)
            return
    mask = masks.top_k(scores, 0.5 * density, within, per_layer)
    assert all((within[name] | ~mask[name]).all() for name in mask)
    assert flat(mask).sum() == (sum(k.values()) if per_layer else max(1, round(0.5 * density * weights)))


def test_top_k_survivors_of_score_minus_infinity_go_before_the_pruned():
    scores = {"a": torch.tensor([-torch.inf, 3.0, -torch.inf, -torch.inf])}
    mask = masks.top_k(scores, 0.5, within={"a": torch.tensor([False, True, False, True])})
    assert mask["a"].tolist() == [False, True, False, True]


def test_top_k_cannot_keep_more_than_is_left():
    within = {"a": torch.tensor([True] * 3 + [False] * 5), "b": torch.zeros(2, dtype=torch.bool)}
    with pytest.raises(LotteryError, match=re.escape("density 0.5 asks for 5 of 10 weights, but the earlier mask has")):
        masks.top_k({"a": torch.rand(8), "b": torch.rand(2)}, 0.5, within)


@pytest.mark.parametrize("density", [0, -0.1, 1.01, NAN, "0.5", None])
def test_densities_are_fractions_kept(density):
    for make in (lambda: masks.top_k({"a": torch.rand(4)}, density), lambda: masks.random({"a": (4,)}, density, 0)):
        with pytest.raises(LotteryError, match="must be a fraction kept, above 0 and at most 1"):
            make()


def test_nan_scores_are_refused():
    scores = {"a": torch.rand(3), "b": torch.tensor([1.0, NAN])}
    for make in (lambda: masks.top_k(scores, 0.5), lambda: masks.threshold(scores, 0.5)):
        with pytest.raises(LotteryError, match="the scores of 'b' contain NaN"):
            make()


@untimed
@given(SHAPES, DENSITY, SEED)
def test_random_is_exact_and_repeatable(shapes, density, seed):
    mask = masks.random(shapes, density, seed)
    weights = flat(mask).numel()
    assert masks.shapes(mask) == shapes and flat(mask).sum() == max(1, round(density * weights))
    assert same(mask, masks.random(shapes, density, seed))


def test_random_is_uniform_over_all_weights(lenet):
    drawn = masks.random(lenet, 0.1, seed=1)
    masks.validate(drawn, lenet)
    assert not same(drawn, masks.random(lenet, 0.1, seed=2))
    counts = sum(flat(masks.random({"a": (8,), "b": (2,)}, 0.3, seed)).double() for seed in range(2000))
    assert (counts / 2000 - 0.3).abs().max() < 0.05  # five standard deviations


@untimed
@given(SHAPES, SEED)
def test_shuffle_keeps_each_layers_count(shapes, seed):
    mask = half(shapes, seed)
    shuffled = masks.shuffle(mask, seed)
    assert masks.shapes(shuffled) == shapes and same(shuffled, masks.shuffle(mask, seed))
    assert [m.sum() for m in shuffled.values()] == [m.sum() for m in mask.values()]


def test_shuffle_moves_every_layer_in_its_own_way():
    mask = {"a": torch.arange(64).view(8, 8) < 32, "b": torch.arange(64).view(8, 8) < 32}
    shuffled, other = masks.shuffle(mask, 0), masks.shuffle(mask, 1)
    drawn = [mask["a"], shuffled["a"], shuffled["b"], other["a"]]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_per_layer_table():
    mask = {"conv.weight": torch.zeros(4, 1, 3, 3, dtype=torch.bool), "fc.weight": torch.tensor([[True, False]])}
    table = masks.per_layer(mask)
    assert list(table.columns) == ["layer", "shape", "weights", "kept", "density"]
    assert table.values.tolist() == [["conv.weight", (4, 1, 3, 3), 36, 0, 0.0], ["fc.weight", (1, 2), 2, 1, 0.5]]
    assert masks.density(mask) == 1 / 38


def test_overlap_is_the_jaccard_index():
    a = {"x": torch.tensor([True, True, False]), "y": torch.tensor([False])}
    b = {"y": torch.tensor([False]), "x": torch.tensor([False, True, True])}
    assert masks.overlap(a, b) == 1 / 3 and masks.overlap(a, a) == 1


@pytest.mark.parametrize("ask", [masks.density, masks.bimodality, masks.pack, lambda none: masks.top_k(none, 0.5)])
def test_no_layers_at_all_are_one_sentence(ask):
    with pytest.raises(LotteryError, match="^there are no masks or scores; they must be of one layer at least$"):
        ask({})


@pytest.mark.parametrize("other", [{"x": torch.ones(2)}, {}, {"x": torch.ones(3), "y": torch.ones(1)}])
def test_masks_of_different_layers_have_no_overlap(other):
    with pytest.raises(LotteryError, match="differ in layer '[xy]'"):
        masks.overlap({"x": torch.ones(3, dtype=torch.bool)}, other)


def test_an_empty_layer_is_named():
    mask = {"a": torch.tensor([True, False]), "b": torch.tensor([False, False])}
    with pytest.raises(LotteryError, match="layer 'b' keeps none of its 2 weights at density 0.25"):
        masks.check_no_empty_layer(mask)
    masks.check_no_empty_layer({"a": mask["a"]})


def test_apply_zeroes_what_is_pruned_and_nothing_else(lenet):
    before = {name: p.detach().clone() for name, p in lenet.named_parameters()}
    with torch.no_grad():
        lenet.fc1.weight[0, 0] = NAN  # 0 * NaN would stay NaN
    mask = masks.random(lenet, 0.1, seed=0)
    mask["fc1.weight"][0, 0] = False
    masks.apply_(lenet, mask)
    for name, parameter in lenet.named_parameters():
        expected = before[name] * mask[name] if name in mask else before[name]
        assert torch.equal(parameter, expected) and parameter.requires_grad
        assert name not in mask or not parameter[~mask[name]].signbit().any()


@pytest.mark.parametrize(
    "mask, message",
    [
        ({}, "the mask is empty; it must cover at least one parameter"),
        ({"fc9.weight": torch.ones(1, dtype=torch.bool)}, "'fc9.weight', which the model does not have; did you mean"),
        ({"fc1.weight": torch.ones(300, 784)}, "the mask of 'fc1.weight' holds torch.float32; it must hold torch.bool"),
        ({"fc1.weight": torch.ones(3, 4, dtype=torch.bool)}, "has shape (3, 4); the model's parameter has (300, 784)"),
    ],
)
def test_masks_that_do_not_fit_leave_the_model_alone(lenet, mask, message):
    before = {name: p.detach().clone() for name, p in lenet.named_parameters()}
    with pytest.raises(LotteryError, match=re.escape(message)):
        masks.apply_(lenet, mask)
    assert same(before, dict(lenet.named_parameters()))


@untimed
@given(SHAPES, SEED)
def test_pack_and_unpack(shapes, seed):
    mask = half(shapes, seed)
    packed = masks.pack(mask)
    assert packed.dtype == np.uint8 and len(packed) == -(-flat(mask).numel() // 8)
    for stored in (packed, packed.tobytes()):
        assert same(masks.unpack(stored, masks.shapes(mask)), mask)


def test_unpack_refuses_another_size():
    with pytest.raises(LotteryError, match="a packed mask of 17 weights has 3 bytes, not 2"):
        masks.unpack(bytes(2), {"a": (17,)})


def test_digest_tells_bits_names_and_shapes_apart():
    mask = {"a": torch.tensor([[True, False], [False, True]])}
    assert masks.digest(mask) == masks.digest({"a": mask["a"].clone()})
    others = [{"b": mask["a"]}, {"a": mask["a"].flatten()}, {"a": ~mask["a"]}]
    assert len({masks.digest(m) for m in (mask, *others)}) == 4


@untimed
@given(st.integers(1, 130), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), SEED)
def test_histogram_gives_the_density_at_every_edge(bins, dtype, seed):
    edges = torch.tensor([j / bins for j in range(bins + 1)]).to(dtype)
    near = torch.cat([edges.nextafter(torch.zeros_like(edges)), edges, edges.nextafter(torch.ones_like(edges))])
    values = {"a": torch.rand(50, generator=torch.Generator().manual_seed(seed)).to(dtype), "b": near.view(3, -1)}
    counts = masks.histogram(values, bins)
    assert counts.shape == (2, bins + 2) and counts.dtype == np.int64
    for layer, m in zip(counts, values.values()):
        assert layer[0] == (m == 0).sum() and layer[-1] == (m == 1).sum()
        assert layer.sum() == m.numel()
    for j in range(1, bins + 1):
        kept = masks.threshold(values, j / bins)
        assert counts[:, 1 + j :].sum(1).tolist() == [int(layer.sum()) for layer in kept.values()]


@pytest.mark.parametrize("value", [-0.1, 1.5, NAN])
def test_histogram_is_for_the_unit_interval(value):
    with pytest.raises(LotteryError, match=r"'b' has values outside \[0, 1\]"):
        masks.histogram({"a": torch.zeros(2), "b": torch.tensor([0.5, value])})


def test_bimodality_counts_the_undecided():
    values = {"a": torch.tensor([0.0, 0.5, 1.0]), "b": torch.tensor([0.25, 0.2])}
    assert masks.bimodality(values) == 3 / 5
    assert masks.bimodality(values, low=0.25, high=0.5) == 0


@pytest.mark.parametrize("device", DEVICES)
def test_results_stay_on_the_device_and_are_the_same_everywhere(lenet, device):
    lenet.to(device)
    scores = draw(masks.shapes(masks.ones(lenet)), 0, levels=50)
    there = {name: s.to(device) for name, s in scores.items()}
    kept, drawn = masks.top_k(there, 0.1), masks.random(lenet, 0.1, 0)
    made = [kept, drawn, masks.shuffle(kept, 0), masks.top_k(there, 0.05, kept), masks.threshold(there, 0.5)]
    assert all(m.device.type == device for mask in made for m in mask.values())
    here = masks.top_k(scores, 0.1)
    assert masks.digest(kept) == masks.digest(here)
    assert masks.digest(made[2]) == masks.digest(masks.shuffle(here, 0))
    assert masks.histogram(there).tolist() == masks.histogram(scores).tolist()
    masks.apply_(lenet, here)  # a mask read from a file lies on the CPU
    assert (lenet.fc1.weight != 0).sum() <= here["fc1.weight"].sum()
