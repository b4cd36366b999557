"""Recipes of `exploration` and `oreal` with options that use all of them."""

from rewardjax.advantages.quantile import gaussian_quantile
from rewardjax.recipes import credit, exploration, oreal
from rewardjax.recipes import exploration_credit as halves
from tests.recipes.cases import REFERENCE, Case


def _quantile_half(rollouts, reward):
  return credit.group_credit(rollouts, reward, gaussian_quantile)


CASES = {
    "lp_reg": Case(
        exploration.lp_reg,
        halves.lp_reg_credit,
        loss=dict(coefficient=0.7, clip_low=0.3),
        credit=dict(fraction=0.2),
        loss_arrays={"proxy_log_probs": "reference"},
    ),
    "unlikeliness": Case(
        exploration.unlikeliness,
        halves.unlikeliness_credit,
        credit=dict(coefficient=0.5),
    ),
    "dcpo": Case(
        exploration.dcpo,
        halves.dcpo_credit,
        loss=dict(clip_high=0.28),
        credit=dict(target=0.9, cap=0.2, threshold=0.45),
        credit_arrays={"tempered_log_probs": "reference"},
    ),
    "g2rpo": Case(
        exploration.g2rpo,
        _quantile_half,
        loss=dict(
            entropy_low=0.45, entropy_high=0.5, entropy_coefficient=2.0
        ),
        loss_arrays={"entropies": "values"},
    ),
    "stable_reinforce": Case(
        exploration.stable_reinforce,
        halves.stable_credit,
        loss=dict(largest_ratio=1.3, clip_low=0.4, clip_high=0.4),
        credit=dict(threshold=1.2, discount=0.9, kl_coefficient=0.1),
        credit_arrays=REFERENCE,
        loss_arrays=REFERENCE,
    ),
    "oreal": Case(
        oreal.oreal,
        halves.oreal_credit,
        loss=dict(kl_coefficient=0.05, kl_estimator="k3"),
        loss_arrays=REFERENCE,
        credit_arrays={"token_rewards": "token_rewards", "kept": "kept"},
    ),
    "amft": Case(
        exploration.amft,
        credit.group_credit,
        loss=dict(weight=0.25),
        loss_arrays={
            "demonstration_log_probs": "reference",
            "demonstration_mask": "counted",
        },
    ),
}
