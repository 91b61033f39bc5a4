"""Protocols of LeNet-300-100: on MNIST, at half of its epochs, and on digits that need no download."""

from lottery_lib.experiments.ticket_run import FIFTHS, TicketRun
from lottery_lib.training.recipes import Recipe


class LeNet(TicketRun):
    """LeNet-300-100 on MNIST, every method, on a CPU: SGD 0.1, momentum 0.9, batch 128, linear decay."""

    protocol = "lenet"
    version = 1
    vectors = "AVX2"
    threads = 1
    reduced = False
    dataset = "mnist"
    model = "lenet-300-100"
    recipe = Recipe(epochs=10)
    ladder = FIFTHS


class LeNetHalf(LeNet):
    """The same at half the epochs a training: what does IMP, whose price is its epochs, lose or gain by that?"""

    protocol = "lenet-half"
    version = 1
    recipe = Recipe(epochs=5)


class DigitsLeNet(TicketRun):
    """The same network on scikit-learn's embedded 8×8 digits: any method, live, in seconds."""

    protocol = "digits"
    version = 1
    threads = 1  # on so few numbers they would only wait for each other, and for whatever else the cores do
    reduced = True
    dataset = "digits"
    model = "lenet-300-100"
    recipe = Recipe(epochs=20, batch_size=64)
    ladder = FIFTHS[:13]  # to 0.05
