"""Toy worlds: pure functions of a key and sizes, exact answers beside them."""

from rewardjax.environments import (
    bandits,
    episodes,
    items,
    ladder,
    quests,
)

__all__ = ["bandits", "episodes", "items", "ladder", "quests"]
