"""gallery.py: what is drawn is what is on record, the same every time; the committed files are up to date."""

import re
from io import BytesIO
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from lottery_lib import paths
from lottery_lib.errors import LotteryError
from lottery_lib.experiments import logistic, records
from lottery_lib.experiments.catalogue import SPOKEN
from lottery_lib.experiments.logistic import METHODS, REFEREE
from lottery_lib.figures import gallery, method
from lottery_lib.figures import logistic as logistic_figures
from lottery_lib.figures.gallery import FIGURES
from lottery_lib.regularizers import REGULARIZERS


@pytest.fixture(scope="module")
def mnist():
    return records.read(logistic.LogisticConfig())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with every figure."""
    folder = tmp_path_factory.mktemp("new") / "figures"
    assert gallery.draw_all(folder) == [folder / f"{stem}.svg" for stem in FIGURES]
    return folder


def words(svg):
    """The texts in a figure; matplotlib puts each beside its outlines."""
    return re.findall("<!-- (.*?) -->", svg.read_text("utf-8"))


def parts(svg):
    """What a file says, and its numbers, with clip paths named by the order in which they appear.

    Matplotlib names them by a hash of their corners in all digits, of which the layout's solver may round the last.
    """
    clip, number = r"\bp[0-9a-f]{10}\b", r"-?\d+(?:\.\d+)?"
    names = {name: f"clip {k}" for k, name in enumerate(dict.fromkeys(re.findall(clip, svg)))}
    svg = re.sub(clip, lambda found: names[found[0]], svg)
    return re.split(number, svg), np.array(re.findall(number, svg), float)


@pytest.mark.parametrize("stem", FIGURES)
def test_the_same_records_give_the_same_file(drawn, stem):
    with mpl.rc_context(gallery.STYLE):
        FIGURES[stem]().savefig(again := BytesIO(), format="svg", metadata={"Date": None})
    texts, numbers = parts(again.getvalue().decode())
    expected_texts, expected_numbers = parts((drawn / f"{stem}.svg").read_text("utf-8"))
    assert texts == expected_texts
    np.testing.assert_allclose(numbers, expected_numbers, rtol=0, atol=2e-6)  # the solver's last digit, as above


@pytest.mark.parametrize("stem", FIGURES)
def test_the_committed_figure_says_what_the_records_say(drawn, stem):
    committed = paths.FIGURES / f"{stem}.svg"
    assert ElementTree.parse(committed).getroot().tag.endswith("svg")
    if (made := re.search(r"Matplotlib v([\d.]+)", committed.read_text("utf-8"))[1]) != mpl.__version__:
        pytest.skip(f"drawn by Matplotlib {made}: {mpl.__version__} may choose other ticks")
    assert words(committed) == words(drawn / f"{stem}.svg") != []


def test_no_committed_figure_is_a_leftover():
    assert sorted(path.name for path in paths.FIGURES.iterdir()) == sorted(f"{stem}.svg" for stem in FIGURES)


def test_drawing_leaves_pyplot_alone(mnist):
    before = dict(mpl.rcParams)
    logistic_figures.logistic_convergence(*mnist)
    assert dict(mpl.rcParams) == before and plt.get_fignums() == []


def test_every_method_has_its_own_colour():
    assert list(logistic_figures.LOGISTIC_COLOURS) == [*METHODS, REFEREE]
    assert len(set(logistic_figures.LOGISTIC_COLOURS.values())) == len(METHODS) + 1


def test_convergence_draws_the_traces(mnist):
    record, arrays = mnist
    figure = logistic_figures.logistic_convergence(record, arrays)
    for ax, key in zip(figure.axes, ("objective", "flips", "zeros")):
        for row, (line, name) in enumerate(zip(ax.lines, METHODS)):
            np.testing.assert_array_equal(line.get_ydata(), arrays[key][row])
            assert line.get_xdata()[[0, -1]].tolist() == [1, 2000]
            assert line.get_color() == logistic_figures.LOGISTIC_COLOURS[name]
        assert [line.get_ydata()[0] for line in ax.lines[len(METHODS) :]] == (
            [] if key == "flips" else [record["methods"][REFEREE][key]]
        )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*METHODS, REFEREE]


def test_paths_draw_the_traced_weights(mnist):
    record, arrays = mnist
    axes = np.reshape(logistic_figures.logistic_paths(record, arrays, last=20).axes, (2, len(METHODS)))
    for row, (whole, end) in enumerate(axes.T):
        drawn = np.stack([line.get_ydata() for line in whole.lines], 1)
        np.testing.assert_array_equal(drawn, arrays["path"][row])
        drawn = np.stack([line.get_ydata() for line in end.lines], 1)
        np.testing.assert_array_equal(drawn, arrays["path"][row, -20:, logistic.TRACED // 2 :])
        low, high = end.get_ylim()
        assert low < drawn.min() and drawn.max() < high


def test_maps_draw_weights_and_masks(mnist):
    record, arrays = mnist
    axes = np.reshape(logistic_figures.logistic_maps(record, arrays).axes, (2, len(METHODS) + 1))
    for column, (name, w) in enumerate(zip([*METHODS, REFEREE], arrays["weights"])):
        above, below = (ax.images[0] for ax in axes[:, column])
        np.testing.assert_array_equal(above.get_array().ravel(), w)
        assert above.get_clim() == (-abs(w).max(), abs(w).max())  # white is zero
        kept = arrays["masks"][column - 3] if column in (3, 4) else w != 0
        np.testing.assert_array_equal(below.get_array().ravel(), kept)
        assert f"{record['methods'][name]['kept']} of 784 kept" in axes[1, column].get_xlabel()


def test_penalties_draws_every_regulariser():
    value, slope = method.penalties().axes
    assert len(value.lines) == len(slope.lines) == len(REGULARIZERS)
    assert [line.get_label().split()[0] for line in value.lines] == [SPOKEN.get(name, name) for name in REGULARIZERS]
    for line in value.lines:
        assert line.get_ydata()[0] == 0 and line.get_ydata()[-1] == pytest.approx(1)


def test_without_its_record_nothing_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    with pytest.raises(LotteryError, match="make it with: lottery train mnist-logistic"):
        FIGURES["mnist-maps"]()
