"""Ticket search: one file a method, one signature, ``search(model, data, config) -> Ticket``; then ``retrain``."""

from . import concave, continuous, controls, gradual, magnitude, saliency
from .base import SearchConfig, geometric, retrain

__all__ = [
    "SearchConfig", "concave", "continuous", "controls", "geometric", "gradual", "magnitude", "retrain", "saliency",
]  # fmt: skip
