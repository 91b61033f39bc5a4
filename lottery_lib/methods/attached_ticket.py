"""A ticket's mask in a training loop that somebody else runs."""

import warnings

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib import states
from lottery_lib.errors import require
from lottery_lib.methods.attached import Attached
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
    """``Attached`` for a ticket's mask; ``detach`` warns where the mask was not kept."""

    rule: TicketMask

    @torch.no_grad()
    def detach(self) -> None:
        if self._hooks:
            for name, weight, kept in zip(self.rule.names, self.rule.weights, self.rule.mask):
                if weight[kept.to(weight.device) == 0].any():
                    warnings.warn(
                        f"{name!r} has weights again that the ticket prunes: load_state_dict, or another optimiser "
                        "than the ticket is attached to, wrote to them; attach it to every optimiser that steps",
                        stacklevel=2,
                    )
                    break
        super().detach()


def attach(model: nn.Module, optimizer: Optimizer, ticket: Ticket) -> AttachedTicket:
    """Rewind a model to a ticket, and keep it under the ticket's mask in a loop of one's own, until it is detached.

    Raises:
        LotteryError: the model has another architecture than the ticket's, or the optimiser cannot be used.

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
    require("ticket", ticket, Ticket, "what a search returns, or Ticket.load(path) reads")
    own = states.parameters(model)
    Attached.require_free(optimizer, {name: own[name] for name in ticket.mask if name in own})
    ticket.apply(model)
    device = next(model.parameters()).device
    mask: dict[str, Tensor] = {name: kept.to(device) for name, kept in ticket.mask.items()}
    return AttachedTicket(model, optimizer, TicketMask(model, mask))
