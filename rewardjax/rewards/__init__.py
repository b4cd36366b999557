"""What scores a sample: verifiers, likelihood, agreement, form, formulas."""

from rewardjax import lazy

__all__ = [
    "agreement",
    "binary_token",
    "consistency",
    "flow",
    "likelihood",
    "marks",
    "paired",
    "patterns",
    "routes",
    "steps",
    "variants",
    "verifiers",
]

__getattr__, __dir__ = lazy.attach(__name__, __all__)
