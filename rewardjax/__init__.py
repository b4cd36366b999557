"""Reinforcement learning from imperfect rewards, as pure JAX functions.

Rooms are imported on first use: `rewardjax.noise.corrections` works after a
plain `import rewardjax`, which itself costs a few milliseconds.
"""

from rewardjax import lazy

__version__ = "0.1.0"

_ROOMS = (
    "advantages",
    "core",
    "data",
    "diagnostics",
    "diffusion",
    "environments",
    "models",
    "noise",
    "objectives",
    "outcomes",
    "policies",
    "recipes",
    "reward_models",
    "rewards",
    "search",
    "shaping",
    "training",
    "types",
)

__getattr__, _ = lazy.attach(__name__, _ROOMS)


def __dir__() -> list[str]:
  return sorted([*globals(), *_ROOMS])
