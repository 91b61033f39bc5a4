"""Whether a signal passes from a network's input to its output, which a mask must leave open, whatever it prunes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.hooks import RemovableHandle

from lottery_lib import states
from lottery_lib.data import structure
from lottery_lib.errors import LotteryError
from lottery_lib.masks import Mask
from lottery_lib.training.modes import aside


def passes(model: nn.Module, mask: Mask, run: Callable[[], Tensor | None]) -> bool | None:
    """Whether the number that ``run`` leads to depends on what a pruned network's first layers make of its input.

    First are the layers that read what no other layer has made, such as a stem or an embedding. None if it cannot be
    told, as the network has no such layer, there is nothing to run, or it cannot be run in this way: what a search has
    found must not be lost by that.

    Raises:
        LotteryError: ``run`` says that something else is wrong.
    """
    starts: list[tuple[bool, Tensor]] = []

    def cut(module: nn.Module, given: tuple, named: dict[str, Any], output: Any) -> Any:
        followed = (isinstance(leaf, Tensor) and leaf.requires_grad for leaf in structure.leaves((given, named)))
        if any(followed) or not torch.is_grad_enabled():
            return None  # not a first layer, or one that no gradient will reach
        alive = any(bool(weight.any()) for name, weight in module.named_parameters(recurse=False) if name != "bias")

        def begin(leaf: Any) -> Any:
            if not (isinstance(leaf, Tensor) and leaf.is_floating_point()):
                return leaf
            starts.append((alive, leaf.detach().requires_grad_()))
            return starts[-1][1] * 1  # as the next layer may work in place

        return structure.mapped(begin, output)

    begun = _begun(model, mask)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    layers = [module for module in model.modules() if module._parameters and not any(module.children())]
    hooks = [module.register_forward_hook(cut, with_kwargs=True) for module in layers]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.compiler.set_stance("force_eager"):
            value = run()
        if value is None or not starts:
            return None
        if not value.requires_grad:
            return False
        gradients = torch.autograd.grad(value, [start for _, start in starts], allow_unused=True)
        reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
    except LotteryError:
        raise
    except Exception:  # of the reader's network, so of any type; as of re-entrant checkpoints of activations
        return None
    finally:
        with torch.no_grad():
            for parameter in begun:
                parameter.zero_()
        for parameter in trained:
            parameter.requires_grad_(True)
        for hook in hooks:
            hook.remove()
    return any(there and alive for there, (alive, _) in zip(reached, starts))


@torch.no_grad()
def _begun(model: nn.Module, mask: Mask) -> list[nn.Parameter]:
    """Weights that begin at zero, as of heads and scales, and will not stay there: set to other values, where kept."""
    begun = []
    for name, parameter in states.parameters(model, tied=False).items():
        kept = mask[name].to(parameter.device) if name in mask else torch.ones_like(parameter, dtype=torch.bool)
        if parameter.requires_grad and not name.endswith("bias") and not parameter.any() and kept.any():
            unequal = torch.linspace(0.5, 1.5, parameter.numel()).view(parameter.shape)  # else all scores were alike
            parameter.copy_(unequal.to(kept.device) * kept)
            begun.append(parameter)
    return begun


class FirstCall:
    """The first call of a network in a training that somebody else runs, to be made again; from ``hook`` on.

    Calls that compute no numbers, as of ``torch.export``, are none. Copies and pickles of the network wait for nothing.
    """

    def __init__(self, model: nn.Module | None):
        self.model: Any = model
        self.device: torch.device | None = None  # where the network was trained, told by whoever steps it
        self.given: tuple[tuple, dict[str, Any]] | None = None
        self.check: Callable[[Tensor], object] | None = None  # of what it led to

    def hook(self, refused: Callable[[], object]) -> RemovableHandle:
        """Wait for the call, by a hook that is gone once it came; to be removed where none came.

        Where the ``check`` fails, ``refused`` is called before its error is raised.
        """
        self._refused = refused
        self._hook = self.model.register_forward_hook(self._keep, with_kwargs=True)
        return self._hook

    def __reduce__(self) -> tuple:
        return FirstCall, (None,)

    def _keep(self, model: nn.Module, given: tuple, named: dict[str, Any], output: Any) -> None:
        if self.model is None or not model.training:
            return
        if torch.compiler.is_compiling():
            if not torch.compiler.is_exporting():  # this is part of the graph, which keeps what it is called on
                self.given = given, named
            return
        if _is_traced(model, (given, named, output)) or not (numbers := _differentiable(output)):
            return  # nothing to be told of a network whose output holds no number, or hides it
        self._hook.remove()
        self.given = given, named
        check, self.check = self.check, None
        try:
            if check is not None:
                check(numbers[0])
        except LotteryError:
            self._refused()
            raise

    def settle(self) -> None:
        """Make a call that a compiled graph has kept once more, outside of it: it shows no layers to the ``check``."""
        if self.given is None or self.check is None:
            return
        given, named = self.given
        with aside(self.model), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            try:
                self.model(*given, **named)
            except LotteryError:
                raise
            except Exception:  # of the reader's network: nothing can be told of it
                self.check = None

    def __call__(self) -> Tensor | None:
        """A number that depends on every part of the network's first output: the loss, where it tells one."""
        if self.given is None:
            return None
        given, named = structure.moved(self.given, next(self.model.parameters()).device)  # it may lie elsewhere by now
        numbers = _differentiable(self.model(*given, **named))
        return (numbers[0] * torch.rand_like(numbers[0])).sum() if numbers else torch.zeros(())


def _differentiable(output: Any) -> list[Tensor]:
    return [leaf for leaf in structure.leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]


def _is_traced(model: nn.Module, call: Any) -> bool:
    """Whether a call has other tensors in it than a training has, or other weights than its own."""
    if torch.jit.is_tracing() or not all(isinstance(weight, nn.Parameter) for weight in model.parameters()):
        return True  # the latter as by torch.func.functional_call
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # by vmap or grad
    tensors = [leaf for leaf in structure.leaves(call) if isinstance(leaf, Tensor)]
    return any(isinstance(tensor, FakeTensor) or wrapped(tensor) for tensor in tensors)
