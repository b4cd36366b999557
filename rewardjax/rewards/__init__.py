"""What scores a sample: verifiers, likelihood, agreement, form, routes."""

from rewardjax.rewards import (
    agreement,
    likelihood,
    patterns,
    routes,
    verifiers,
)

__all__ = ["agreement", "likelihood", "patterns", "routes", "verifiers"]
