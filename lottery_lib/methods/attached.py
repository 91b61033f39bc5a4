"""A search in a training loop that somebody else runs: hooks about the optimiser's step, and nothing else.

Between two steps the network holds its effective weights W, so everything that looks at it sees what it is. For the
step itself they are exchanged for θ, and their gradient for that of θ; after it W is written anew. So any optimiser
does, with its parameter groups, clipping, accumulation, gradient scaling and schedules.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lottery_lib.errors import LotteryError, require
from lottery_lib.methods.optimizers import INSTEAD, called, innermost, unscaled
from lottery_lib.methods.signal import FirstCall
from lottery_lib.relaxation import Parameterization
from lottery_lib.tickets import Ticket
from lottery_lib.training.loop import require_trained, warn_of

OVER = 1.5  # of the steps that a search was told of; an estimate will do, another unit will not
LOOKED = 100  # steps in which the weights are looked at; then in every hundredth, and where a write to them was noted


class Attached:
    """A parameterization between a model and an optimiser that somebody else steps, until ``detach``.

    ``steps`` are those of the whole training, for a parameterization that asks how much of it is done; ``step`` counts
    those that were taken.

    Raises:
        LotteryError: the optimiser does not step a weight under the mask, has another search or mask attached to it, or
            cannot be used (``methods.optimizers``). Later, in a step: the loss is evaluated several times, a weight is
            no longer finite, or somebody else wrote to the weights.
    """

    _of: "WeakKeyDictionary[Optimizer, list[Attached]]" = WeakKeyDictionary()

    def __init__(self, model: nn.Module, optimizer: Optimizer, rule: Parameterization, steps: float = 1):
        optimizer = self.require_free(optimizer, dict(zip(rule.names, rule.weights)))
        self.model, self.steps, self.step = model, steps, 0
        self.rule: Parameterization = rule
        self.unreached = dict(zip(rule.names, rule.weights))  # by any gradient so far
        self._idle = True  # not between a backward pass and the end of its step
        self._hooks = [
            optimizer.register_step_pre_hook(self._on_step),
            optimizer.register_step_post_hook(lambda *_: self._after()),
        ]
        self._of.setdefault(optimizer, []).append(self)
        rule.advance(0.0)
        self._seen = self._writes()

    @classmethod
    def require_free(cls, optimizer: Optimizer, weights: Mapping[str, Tensor]) -> Optimizer:
        """The innermost optimiser, if these weights can be attached to it. To be asked before any of them is written.

        Raises:
            LotteryError: it does not step one of them, has another search or mask attached to it, or cannot be used.
        """
        optimizer = innermost(optimizer)
        own = stepped(optimizer, weights)
        if missing := [name for name in weights if name not in own]:
            raise LotteryError(
                f"the optimiser does not step {missing[0]!r}; build it over the model's parameters first"
            )
        taken = {id(weight) for other in cls._of.get(optimizer, []) for weight in other.rule.weights}
        if taken & {id(weight) for weight in weights.values()}:
            raise LotteryError(
                "another search or mask is attached to these weights and this optimiser; detach it first"
            )
        return optimizer

    def detach(self) -> None:
        """Leave the optimiser; the network keeps the effective weights it has."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for others in self._of.values():
            others[:] = [other for other in others if other is not self]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the model's and the optimiser's own state."""
        return {"step": self.step, **self.rule.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; the model's and the optimiser's state are loaded by their owner.

        Raises:
            LotteryError: it is not the state of such a search; nothing is loaded then.
        """
        require("state", state, Mapping, "what state_dict() of such a search gave")
        own = self.state_dict()
        for name in [*own, *(name for name in state if name not in own)]:
            if name not in own or name not in state or _shape(own[name]) != _shape(state[name]):
                raise LotteryError(
                    f"the state of another search: it differs from this one's in {name!r}; attach by the same method, "
                    "to the same network"
                )
        self.rule.follow()
        self._load(state)
        self.rule.advance(min(1.0, self.step / self.steps))
        with torch.no_grad():
            self.rule.push_forward()
        self._seen = self._writes()

    def _load(self, state: Mapping[str, Any]) -> None:
        self.step, self.unreached = int(state["step"]), {}  # what was reached before, nobody has written down
        self.rule.load({name: state[name] for name in self.rule.state()})

    def _on_step(self, optimizer: Optimizer, given: tuple, named: dict[str, Any]) -> tuple | None:
        """Before the step; where a closure makes the gradients within it, after the closure."""
        self._look(optimizer)
        owner, given = given[:1], given[1:]  # PyTorch counts the optimiser among what it is given
        closure = named.get("closure", given[0] if given else None)
        if closure is None:
            self._before(optimizer)
            return None

        def evaluated() -> Any:
            if not self._idle:
                raise LotteryError(f"{called(optimizer)} evaluates the loss several times a step; {INSTEAD}")
            with torch.enable_grad():
                value = closure()
            if self._writes() != self._seen:
                raise LotteryError(f"{called(optimizer)} moves the weights before it evaluates the loss; {INSTEAD}")
            self._before(optimizer)
            return value

        return ((*owner, evaluated), named) if given else (owner, {**named, "closure": evaluated})

    @torch.no_grad()
    def _look(self, optimizer: Optimizer) -> None:
        """The weights may lie elsewhere by now, as on a GPU, but must be those that the last step left."""
        rule = self.rule
        if self.step >= LOOKED and self.step % LOOKED and self._writes() == self._seen:
            return
        rule.follow()
        for name, weight in zip(rule.names, rule.weights):
            if not weight.isfinite().all():
                raise LotteryError(
                    f"{name!r} is not finite after {self.step} steps; lower the learning rate, and see whether a "
                    "number in the data is not finite"
                )
        if rule.leaves is not rule.weights:
            found = [weight.clone() for weight in rule.weights]
            rule.push_forward()
            for name, weight, given in zip(rule.names, rule.weights, found):
                if not torch.allclose(weight, given, rtol=1e-3, atol=1e-12, equal_nan=True):
                    weight.copy_(given)
                    raise LotteryError(
                        f"{name!r} was written to since the last step, as by load_state_dict or another optimiser, and "
                        "the search would undo that; attach after loading weights, or load the search's own state too"
                    )
        self._seen = self._writes()

    def _writes(self) -> list[tuple[int, int]]:
        """How often each weight was written to in place, and where it lies."""
        return [(weight._version, weight.data_ptr()) for weight in self.rule.weights]

    @torch.no_grad()
    def _before(self, optimizer: Optimizer) -> None:
        if not unscaled(optimizer):
            return
        rule = self.rule
        self.unreached = {name: weight for name, weight in self.unreached.items() if weight.grad is None}
        rule.fill_gradients()
        rule.pull_back()
        if rule.leaves is not rule.weights:
            torch._foreach_copy_(rule.weights, rule.leaves)
            for weight, leaf in zip(rule.weights, rule.leaves):
                weight.grad = leaf.grad if leaf.grad is None else leaf.grad.to(weight.dtype)
        self._idle = False

    @torch.no_grad()
    def _after(self) -> None:
        if self._idle:
            return
        rule = self.rule
        if rule.leaves is not rule.weights:
            torch._foreach_copy_(rule.leaves, rule.weights)
            for leaf in rule.leaves:
                leaf.grad = None
        rule.push_forward()
        self.step, self._idle = self.step + 1, True
        rule.advance(min(1.0, self.step / self.steps))
        self._seen = self._writes()


def stepped(optimizer: Optimizer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of these weights that an optimiser steps."""
    given = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
    return {name: weight for name, weight in weights.items() if id(weight) in given}


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else type(value)


class AttachedSearch(Attached):
    """``Attached`` with a ``ticket`` at its end; if that rewinds, to ``rewind``. ``first`` is the call it waits for."""

    def __init__(
        self, first: FirstCall, *given: Any, finish: Callable[["AttachedSearch"], Ticket],
        rewind: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        super().__init__(first.model, *given)
        self._first = first
        self._hooks.append(first.hook(refused=self.detach))
        self._finish = finish
        self._found: Ticket | None = None
        self._fresh = not innermost(given[0]).state
        self._rewind = {f"rewind.{name}": kept for name, kept in (rewind or {}).items() if isinstance(kept, Tensor)}

    def ticket(self) -> Ticket:
        """What was found. Detaches; the network is left pruned, in the state that the ticket rewinds to.

        Asked again it is the same ticket, and the network stays as it is by then.

        Raises:
            LotteryError: no step was taken, or no signal passes, as a layer keeps no weight.
        """
        if not self.step:
            raise LotteryError(
                "no step was taken since the search was attached: is this the optimiser that is stepped?"
            )
        if self._found is None:
            self.detach()
            if self.unreached:
                warn_of(self.unreached, "since the search was attached")
            self.rule.follow()  # where a trainer has put the network after the last step, as on the CPU again
            self._found = self._finish(self)
        return self._found

    def _look(self, optimizer: Optimizer) -> None:
        if self._fresh and not self.step and optimizer.state:
            raise LotteryError(
                "the optimiser's state was loaded after the search was attached, and the search's was not; save its "
                "state_dict() in checkpoints, and load it too"
            )
        if not self.step:
            self._first.settle()
        self._first.device = self.rule.weights[0].device
        super()._look(optimizer)

    def _before(self, optimizer: Optimizer) -> None:
        require_trained(self.rule.names, self.rule.weights)  # now that a closure has been evaluated
        super()._before(optimizer)

    def _after(self) -> None:
        super()._after()
        if self.step - 1 < OVER * self.steps <= self.step:
            warnings.warn(
                f"{self.step} steps were taken, and the search has decided by the {self.steps:g} it was told of; "
                "give as steps how often the optimiser steps in the whole training",
                stacklevel=4,
            )

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | self._rewind

    def _load(self, state: Mapping[str, Any]) -> None:
        super()._load(state)
        for name, tensor in self._rewind.items():
            tensor.copy_(state[name])
