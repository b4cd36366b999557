"""Choosing among candidates at inference time, and trees of steps."""

from rewardjax.search import (
    beam,
    compression,
    curves,
    guided,
    mcts,
    monte_carlo,
    prefix_tree,
    prompts,
    selection,
    step_beam,
    step_labels,
    tries,
    voting,
)

__all__ = [
    "beam",
    "compression",
    "curves",
    "guided",
    "mcts",
    "monte_carlo",
    "prompts",
    "prefix_tree",
    "selection",
    "step_beam",
    "step_labels",
    "tries",
    "voting",
]
