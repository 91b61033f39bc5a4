"""A ticket's mask in a training loop that somebody else runs."""

import warnings

import torch
from torch import nn
from torch.optim import Optimizer

from lottery_lib import masks, states
from lottery_lib.errors import require
from lottery_lib.masks import Mask
from lottery_lib.methods.attached import Attached, stepped
from lottery_lib.methods.optimizers import innermost
from lottery_lib.relaxation import FixedMask
from lottery_lib.tickets import Ticket


class TicketMask(FixedMask):
    """A ticket's mask under any optimiser: what was pruned is zero after each step, whatever momentum or decay did.

    A weight without a gradient, as a frozen one, is left alone, as it would be without a mask.
    """

    def fill_gradients(self) -> None:
        """By nothing."""

    def pull_back(self) -> None:
        for weight, kept in zip(self.weights, self.mask):
            if weight.grad is not None:
                weight.grad = weight.grad.to_dense().mul_(kept)  # itself, where it is dense

    def push_forward(self) -> None:
        torch._foreach_mul_(self.weights, self.mask)


class AttachedTicket(Attached):
    """``Attached`` for a ticket's mask, on the weights that the optimiser steps; ``detach`` warns of any others where
    the mask was not kept.
    """

    rule: TicketMask

    def __init__(self, model: nn.Module, optimizer: Optimizer, mask: Mask):
        own, optimizer = states.parameters(model), innermost(optimizer)
        self.mask, self.weights = mask, {name: own[name] for name in mask}
        self._groups = len(optimizer.param_groups)
        super().__init__(model, optimizer, self._rule(model, optimizer))

    def _rule(self, model: nn.Module, optimizer: Optimizer) -> TicketMask:
        return TicketMask(model, {name: self.mask[name] for name in stepped(optimizer, self.weights)})

    def _look(self, optimizer: Optimizer) -> None:
        if self._groups != len(optimizer.param_groups):  # it steps more by now, as layers that were unfrozen
            self._groups = len(optimizer.param_groups)
            self.rule = self._rule(self.model, optimizer)
        super()._look(optimizer)

    @torch.no_grad()
    def prune(self) -> None:
        """Where something else has written the weights since the last step, prune them again."""
        self.rule.follow()
        self.rule.push_forward()
        self._seen = self._writes()

    @torch.no_grad()
    def detach(self) -> None:
        if self._hooks:
            for name, weight in self.weights.items():
                if weight[~self.mask[name].to(weight.device)].any():
                    warnings.warn(
                        f"{name!r} has weights again that the ticket prunes: load_state_dict, or another optimiser "
                        "than the ticket is attached to, wrote to them; attach it to every optimiser that steps",
                        stacklevel=2,
                    )
                    break
        super().detach()


def attach(model: nn.Module, optimizer: Optimizer, ticket: Ticket, rewind: bool = True) -> AttachedTicket:
    """Rewind a model to a ticket, and keep it under the ticket's mask in a loop of one's own, until it is detached.

    ``rewind=False``: prune the weights that it has now, to train on from there, as on other data.
    Weights under the mask that the optimiser does not step, as frozen ones, stay as they are rewound. Where several
    optimisers share the weights, attach the ticket to each of them, before any step: each time it rewinds the model.
    Another ticket's mask that is attached to the model is kept.

    Raises:
        LotteryError: the model has another architecture than the ticket's, or the optimiser steps none of the weights
            under the mask, or cannot be used.

    >>> import torch
    >>> from lottery_lib import attach, controls, load, masks, models
    >>> data = load("digits")
    >>> model = models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> ticket = controls.search(model, data, controls.Config(density=0.2))
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> masked = attach(model, optimizer, ticket)
    >>> for images, labels in data.train.batches(64, epoch=0, seed=0):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.cross_entropy(model(images), labels).backward()
    ...     optimizer.step()
    >>> masks.density({n: model.get_parameter(n) != 0 for n in ticket.mask})
    0.2
    """
    require("model", model, nn.Module, "a torch.nn.Module")
    require("ticket", ticket, Ticket, "what a search returns, or Ticket.load(path) reads")
    own = states.parameters(model)
    weights = {name: own[name] for name in ticket.mask if name in own}
    Attached.require_free(optimizer, stepped(innermost(optimizer), weights) or weights)
    trained = None if rewind else states.snapshot(model)
    ticket.apply(model)  # which refuses another network
    if trained is not None:
        states.load(model, trained)
        masks.apply_(model, ticket.mask)
    for others in [*Attached._of.values()]:
        for other in others:
            if isinstance(other, AttachedTicket) and other.model is model:
                other.prune()
    return AttachedTicket(model, optimizer, ticket.mask)
