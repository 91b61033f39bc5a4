"""planted_networks.py: what is measured is what was found, and the same again; what is out of range is refused."""

import numpy as np
import pytest
import torch

from lottery_lib.errors import LotteryError
from lottery_lib.experiments import planted_networks, records
from lottery_lib.experiments.planted_networks import LAMBDAS, LOOKS, PENALTIES, SETTINGS, STARTS, WAYS, PlantedNetworks

FEW = ((1, 40, 0.2), (2, 40, 0.5))
COUNT = 2


@pytest.fixture(scope="module")
def arrays():
    return planted_networks.measured(PlantedNetworks(problems=COUNT), FEW)


def test_the_axes_of_what_is_measured(arrays):
    paths, points = (len(FEW), len(PENALTIES), len(STARTS), COUNT, len(LAMBDAS)), (len(FEW), len(PENALTIES), len(WAYS))
    assert {key for key, each in arrays.items() if each.shape == paths} == {"path_error", "path_f1", "path_kept"}
    assert arrays["search"].shape == (*points, len(LOOKS) + 1, COUNT) and arrays["error"].shape == (*points, COUNT)


def test_a_point_lies_on_its_path(arrays):
    kept = 16 * np.array([depth for depth, *_ in FEW])[:, None, None]
    for number, (way, start) in enumerate(zip(WAYS, (0, 0, 1))):
        index = np.abs(np.log(arrays["lam"][:, :, number, :, None] / LAMBDAS.numpy())).argmin(-1)[..., None]
        error, f1, count = (
            np.take_along_axis(arrays[f"path_{key}"][:, :, start], index, -1)[..., 0] for key in ("error", "f1", "kept")
        )
        np.testing.assert_allclose(arrays["error"][:, :, number], error, rtol=1e-6)
        np.testing.assert_allclose(arrays["f1"][:, :, number], f1, rtol=1e-6)
        if way == "equal density":
            miss = np.abs(arrays["path_kept"][:, :, start] - kept[..., None]).min(-1)
            np.testing.assert_array_equal(np.abs(count - kept), miss)
        else:
            np.testing.assert_array_equal(error, arrays["path_error"][:, :, start].min(-1))


def test_at_equal_density_the_middle_of_those_that_fit_is_taken():
    kept = torch.tensor([[9, 5, 5, 5, 2], [9, 8, 7, 6, 5], [4, 3, 2, 1, 0]])
    assert planted_networks.equal_density(kept, torch.tensor([5.0, 7.0, 5.0])).tolist() == [2, 2, 0]


def test_f1_of_a_support():
    target = torch.tensor([1.0, 1.0, 0.0, 0.0])
    m = torch.tensor([[1.0, 0.5, 0.0, 0.04], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert planted_networks.f1(m, target).tolist() == pytest.approx([1.0, 2 / 3, 0.0, 2 / 3])


def test_a_search_starts_with_all_entries_and_from_the_target_with_its_own(arrays):
    quadratic = arrays["search"][0]
    np.testing.assert_allclose(quadratic[0, 0, 0], quadratic[1, 1, 0], rtol=1e-6)  # γ, whatever the penalty
    assert (quadratic[:, 2, 0] > quadratic[:, 0, 0]).all()


def test_the_same_again(arrays):
    again = planted_networks.measured(PlantedNetworks(problems=COUNT), FEW)
    for key, values in arrays.items():
        np.testing.assert_array_equal(values, again[key])


def test_a_record_names_its_axes():
    record, arrays = records.read(PlantedNetworks())
    axes = [len(record[key]) for key in ("settings", "penalties", "starts")]
    assert arrays["path_error"].shape == (*axes, record["config"]["problems"], len(record["lambdas"]))
    assert [tuple(setting.values()) for setting in record["settings"]] == list(SETTINGS)


def test_the_best_lambda_lies_among_those_tried():
    """On record: hardly a convex problem, or one from the target, would rather have a λ beyond the ends."""
    _, arrays = records.read(PlantedNetworks())
    best = arrays["path_error"].argmin(-1)
    for of in (best[:4], best[:, :, 1]):
        assert np.isin(of, (0, len(LAMBDAS) - 1)).mean() < 0.05


@pytest.mark.parametrize(
    "field, value, rule",
    [
        ("problems", 0, "at least 1"),
        ("eps", 0.0, "> 0"),
        ("eps", float("inf"), "a finite number"),
        ("problems", 2.5, "a whole number"),
        ("problems", "3", "a whole number"),
    ],
)
def test_refused(field, value, rule):
    with pytest.raises(LotteryError, match=f"^{field} = {value!r}: must be {rule}$"):
        PlantedNetworks(**{field: value})
