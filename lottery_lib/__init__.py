"""Winning tickets by concave mask regularisation (arXiv 2501.11135): one thin, readable library.

Read the method in the order in which data flow through it: ``data``, ``weights``, ``regularizers``, ``masks``,
``relaxation``, ``training``, ``tickets``, ``methods``. What puts runs on record and reads them comes after:
``theory``, ``experiments``, ``findings``, ``figures``, ``widgets``. The names below are imported when first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lottery_lib import masks, models, regularizers
    from lottery_lib.data.batches import own
    from lottery_lib.data.datasets import load
    from lottery_lib.errors import LotteryError
    from lottery_lib.methods import concave, continuous, controls, gradual, magnitude, saliency
    from lottery_lib.methods.attached_ticket import attach
    from lottery_lib.methods.base import retrain
    from lottery_lib.tickets import Ticket, to_csr, to_prune, to_state_dict
    from lottery_lib.training.evaluation import evaluate
    from lottery_lib.training.loop import train
    from lottery_lib.training.recipes import Recipe

__version__ = "0.1.0"
__all__ = [  # in reading order
    "load", "own", "Recipe", "train", "evaluate", "retrain", "attach",
    "concave", "magnitude", "gradual", "continuous", "saliency", "controls", "regularizers", "masks", "models",
    "Ticket", "to_state_dict", "to_prune", "to_csr", "LotteryError",
]  # fmt: skip
_HOMES = {
    "load": "data.datasets", "own": "data.batches", "Recipe": "training.recipes", "train": "training.loop",
    "evaluate": "training.evaluation", "retrain": "methods.base", "attach": "methods.attached_ticket",
    "Ticket": "tickets", "to_state_dict": "tickets", "to_prune": "tickets", "to_csr": "tickets",
    "LotteryError": "errors",
}  # fmt: skip
_MODULES = ("concave", "magnitude", "gradual", "continuous", "saliency", "controls")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'lottery_lib' has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"lottery_lib.{_HOMES[name]}"), name)
    return importlib.import_module(f"lottery_lib.{'methods.' if name in _MODULES else ''}{name}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
