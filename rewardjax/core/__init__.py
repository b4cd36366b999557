"""Masked sums, reducers, probabilities, checks, keys: no method lives here."""

from rewardjax import lazy

__all__ = [
    "checks",
    "collectives",
    "divergences",
    "exact_json",
    "gguf_file",
    "links",
    "mapping",
    "masking",
    "numerics",
    "packing",
    "probability",
    "random",
    "reduction",
    "statistics",
    "tilting",
]

__getattr__, __dir__ = lazy.attach(__name__, __all__)
