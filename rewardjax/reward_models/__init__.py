"""How learned rewards are trained, and read: losses, never networks."""

from rewardjax.reward_models import (
    contrastive,
    decomposition,
    discriminators,
    ensembles,
    factors,
    fitting,
    goals,
    implicit,
    laplace,
    latent,
    ordinal,
    outcome,
    pairwise,
    process,
    spread,
    zero_inflated,
)

__all__ = [
    "contrastive",
    "decomposition",
    "discriminators",
    "ensembles",
    "factors",
    "fitting",
    "goals",
    "implicit",
    "laplace",
    "latent",
    "ordinal",
    "outcome",
    "pairwise",
    "process",
    "spread",
    "zero_inflated",
]
