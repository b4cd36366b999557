"""Reinforcement learning from imperfect rewards, as pure JAX functions.

Rooms are imported on first use: `rewardjax.noise.corrections` works after a
plain `import rewardjax`, which itself costs a few milliseconds.
"""

import importlib

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
    "policies",
    "recipes",
    "reward_models",
    "rewards",
    "search",
    "shaping",
    "training",
    "types",
)


def __getattr__(name: str):
  if name in _ROOMS:
    return importlib.import_module(f"{__name__}.{name}")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted([*globals(), *_ROOMS])
