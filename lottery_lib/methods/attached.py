"""A search in a training loop that somebody else runs: hooks about the optimiser's step, and nothing else.

Between two steps the network holds its effective weights W, so everything that looks at it sees what it is. For the
step itself they are exchanged for θ, and their gradient for that of θ; after it W is written anew. So any optimiser
does, with its parameter groups, clipping, accumulation, gradient scaling and schedules.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib import states
from lottery_lib.errors import LotteryError
from lottery_lib.methods.base import SearchConfig, Trainer
from lottery_lib.methods.signal import FirstCall
from lottery_lib.relaxation import FixedMask, Parameterization
from lottery_lib.tickets import Ticket
from lottery_lib.weights import nearest, prunable

NO_DATA: Any = None  # of a search whose data somebody else feeds
OF_ANY_LOOP = {"density", "per_layer", "names", "allow_empty_layers"}


class Attached:
    """A parameterization between a model and an optimiser that somebody else steps, until ``detach``.

    ``steps``: of the whole training, where the parameterization asks how much of it is done. ``step``: those taken.

    Raises:
        LotteryError: the optimiser does not step a weight under the mask, or evaluates the loss several times a step.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, rule: Parameterization, steps: int = 1):
        if isinstance(optimizer, torch.optim.LBFGS):
            raise LotteryError("L-BFGS evaluates the loss several times a step; attach to a first-order optimiser")
        stepped = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
        if missing := [name for name, weight in zip(rule.names, rule.weights) if id(weight) not in stepped]:
            raise LotteryError(
                f"the optimiser does not step {missing[0]!r}; build it over the model's parameters first"
            )
        if steps < 1:
            raise LotteryError(f"steps = {steps!r}: must be ≥ 1, the optimiser's steps in the whole training")
        self.model, self.rule, self.steps, self.step = model, rule, steps, 0
        self._idle = True  # not between a backward pass and the end of its step
        self._hooks = [
            optimizer.register_step_pre_hook(self._on_step),
            optimizer.register_step_post_hook(lambda *_: self._after()),
        ]
        rule.advance(0.0)

    def detach(self) -> None:
        """Leave the optimiser; the network keeps the effective weights it has."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the model's and the optimiser's own state."""
        return {"step": self.step, **self.rule.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; the model's and the optimiser's state are loaded by their owner."""
        self.step = int(state["step"])
        self.rule.load({key: value for key, value in state.items() if key != "step"})
        self.rule.advance(min(1.0, self.step / self.steps))
        with torch.no_grad():
            self.rule.push_forward()

    def _on_step(self, optimizer: Optimizer, given: tuple, named: dict[str, Any]) -> tuple | None:
        """Before the step; where a closure makes the gradients within it, after the closure."""
        owner, given = given[:1], given[1:]  # PyTorch counts the optimiser among what it is given
        closure = named.get("closure", given[0] if given else None)
        if closure is None:
            self._before()
            return None

        def evaluated() -> Any:
            with torch.enable_grad():
                value = closure()
            self._before()
            return value

        return ((*owner, evaluated), named) if given else (owner, {**named, "closure": evaluated})

    @torch.no_grad()
    def _before(self) -> None:
        rule = self.rule
        rule.fill_gradients()
        rule.pull_back()
        for weight, leaf in zip(rule.weights, rule.leaves):
            if leaf is not weight:
                weight.copy_(leaf)
                weight.grad = leaf.grad if leaf.grad is None else leaf.grad.to(weight.dtype)
        self._idle = False

    @torch.no_grad()
    def _after(self) -> None:
        if self._idle:
            return
        rule = self.rule
        for weight, leaf in zip(rule.weights, rule.leaves):
            if leaf is not weight:
                leaf.copy_(weight)
                leaf.grad = None
        rule.push_forward()
        self.step, self._idle = self.step + 1, True
        rule.advance(min(1.0, self.step / self.steps))


def prepared(kind: type[SearchConfig], model: nn.Module, **given: Any) -> tuple[Any, Trainer]:
    """A method's config, and what its search passes around, where neither data nor epochs are ours.

    Raises:
        LotteryError: more is given than a search may be told there, or something is out of range.
    """
    known = {item.name for item in fields(kind)} - {item.name for item in fields(SearchConfig)} | OF_ANY_LOOP
    if unknown := given.keys() - known:
        raise LotteryError(f"{min(unknown)}: a loop of your own decides that; known here: {', '.join(sorted(known))}")
    config, first = kind(**given), FirstCall(model)
    trainer = Trainer(model, NO_DATA, config, {}, run=first)
    if config.names is None:
        first.check = partial(_require_classifier, model, trainer.names)
    return config, trainer


def _require_classifier(model: nn.Module, covered: list[str], output: Tensor) -> None:
    """LotteryError if the linear layer that stays dense is not the one nearest the output.

    Before anything is run that is the last one registered; in a loop of our own a traced run has told.
    """
    own = states.parameters(model, tied=False)
    last = nearest(output, model, [name for name, parameter in own.items() if parameter.ndim >= 2])
    traced = prunable(model, trace=lambda: output)
    if last is not None and (wrong := [name for name in traced if name not in covered]):
        raise LotteryError(
            f"{wrong[0]!r} was taken for the classifier, which stays dense, as it is the last linear layer registered, "
            f"but {last!r} is nearest the output; attach with names=weights.prunable(model, trace=lambda: "
            "model(inputs).sum())"
        )


class AttachedSearch(Attached):
    """``Attached`` with a ``ticket`` at its end."""

    def __init__(self, *given: Any, finish: Callable[["AttachedSearch"], Ticket]):
        super().__init__(*given)
        self._finish = finish

    def ticket(self) -> Ticket:
        """What was found. Detaches; the network is left rewound to where it was attached, and pruned.

        Raises:
            LotteryError: no step was taken, or no signal passes, as a layer keeps no weight.
        """
        if not self.step:
            raise LotteryError(
                "no step was taken since the search was attached: is this the optimiser that is stepped?"
            )
        self.detach()
        return self._finish(self)


def attach(model: nn.Module, optimizer: Optimizer, ticket: Ticket) -> Attached:
    """Rewind a model to a ticket, and keep it under the ticket's mask in a loop of one's own.

    >>> import torch, lottery_lib as lottery
    >>> data = lottery.load("digits")
    >>> model = lottery.models.create("lenet-300-100", data.classes, data.shape, width=0.1)
    >>> ticket = lottery.controls.search(model, data, lottery.controls.Config(density=0.2))
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> masked = lottery.attach(model, optimizer, ticket)
    >>> for images, labels in data.train.batches(64, epoch=0, seed=0):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.cross_entropy(model(images), labels).backward()
    ...     optimizer.step()
    >>> lottery.masks.density({name: model.get_parameter(name) != 0 for name in ticket.mask})
    0.2
    """
    ticket.apply(model)
    device = next(model.parameters()).device
    mask: dict[str, Tensor] = {name: kept.to(device) for name, kept in ticket.mask.items()}
    return Attached(model, optimizer, FrozenMask(model, mask))


class FrozenMask(FixedMask):
    """A fixed mask under any optimiser: what was pruned is zero after each step, whatever momentum or decay did."""

    def push_forward(self) -> None:
        torch._foreach_mul_(self.weights, self.mask)
