"""Ticket search: one file a method, one signature, ``search(model, data, config) -> Ticket``; then ``retrain``."""

from lottery_lib.methods import concave, continuous, controls, gradual, magnitude, saliency
from lottery_lib.methods.base import SearchConfig, geometric, retrain

__all__ = [
    "SearchConfig", "concave", "continuous", "controls", "geometric", "gradual", "magnitude", "retrain", "saliency",
]  # fmt: skip
