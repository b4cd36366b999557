"""What the policy of `experiments.rlvr` is paid for, and what beside it.

    source -> liar -> correction -> tiers, length -> plus rewards beside it

The source (`config.reward`) takes the place of the verifier's verdict; noise
and corrections act on it and on nothing else. Rewards beside it
(`config.beside`) are added as they are found. Axes: B prompts, G samples, T
tokens, M rewards beside the source.
"""

from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments import rlvr_stages
from experiments.choices import choose
from experiments.rlvr_measures import BESIDE, Found, beside_names
from rewardjax.advantages import running
from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean
from rewardjax.recipes import agreement, multi_reward, recommendation
from rewardjax.rewards import likelihood, variants
from rewardjax.shaping import aggregation, transforms
from rewardjax.types import Reward, Rollouts

# (found, samples that exist, key) -> Reward: what may be learned from instead
# of the verdicts, or beside them.
SOURCES = {
    "verifier": lambda found, exists, key: found.verdict,
    "majority": lambda found, exists, key: agreement.majority_reward(
        found.votes, exists
    ),
    "twin": lambda found, exists, key: agreement.twin_reward(
        found.votes, exists
    ),
    "likelihood": lambda found, exists, key: found.likelihood,
    "format": lambda found, exists, key: variants.format_reward(
        found.votes >= 0, exists.valid
    ),
    "random": lambda found, exists, key: variants.random_reward(
        key, exists.valid
    ),
    "inverted": lambda found, exists, key: variants.inverted_reward(
        found.verdict.value > 0, found.verdict.valid
    ),
    "ranks": lambda found, exists, key: recommendation.rank_reward(
        (found.verdict.value > 0) & exists.valid, exists.valid
    ),
}
VOTES = ("tokens", "numbers")
GATES = ("always", "reached", "missed")
COMBINE = ("sum", "normalized")


def outcome(config, key, found: Found, rollouts: Rollouts) -> Reward:
  """What the source says; `key` is consumed by "random" alone."""
  return SOURCES[config.reward.name](found, _exists(rollouts), key)


def _exists(rollouts: Rollouts) -> Reward:
  """Samples that were drawn, whatever a verifier makes of them."""
  exists = jnp.any(rollouts.mask, axis=-1)
  return Reward(exists.astype(jnp.float32), exists)


def beside(config, found: Found, rollouts: Rollouts) -> Reward | None:
  """The rewards beside the source `[B, G, M]`; None if there are none."""
  names = beside_names(config)
  if not names:
    return None
  table = SOURCES | {"form": lambda found, exists, key: found.form}
  exists = _exists(rollouts)
  return _stack([table[name](found, exists, None) for name in names])


def _stack(rewards):
  # One that is unknown may be NaN.
  filled = [r._replace(value=masking.fill_masked(*r)) for r in rewards]
  return jax.tree.map(lambda *x: jnp.stack(x, -1), *filled)


def _gated(part: Reward, verdict: Reward, options) -> Reward:
  """Where the source says what the gate asks for; 0 elsewhere."""
  if options.gate == "always":
    return part
  value, steps = masking.fill_masked(*verdict), part.value[..., None]
  if options.gate == "reached":
    steps = transforms.gate_steps(value, steps, threshold=options.threshold)
    paid = steps[..., 0]
  else:
    nothing = jnp.zeros_like(value)
    paid = jnp.where(value < options.threshold, part.value, nothing)
  return Reward(paid, part.valid & verdict.valid)


def total(
    reward: Reward, seen, rollouts: Rollouts, config, paid=None
) -> Reward:
  """The corrected reward in tiers, less length, plus what is beside it.

  Args:
    reward: corrected, `[B, G]`.
    seen: `rlvr_verdicts.Seen`; gates read what was observed.
    rollouts: whole groups.
    config: of the arm.
    paid: what turns are paid for `[B, G, K]`: their sum takes the place of
      the reward; None: nothing does.

  Returns:
    One reward per sample; with "normalized", its advantage.
  """
  o, names = config.shaping, beside_names(config)
  if paid is not None:
    reward = reward._replace(value=jnp.sum(paid, axis=-1))
  if o.tiers:
    value = transforms.quantize(masking.fill_masked(*reward), num_tiers=o.tiers)
    reward = reward._replace(value=value)
  reward = rlvr_stages.shape_reward(reward, rollouts, o, seen.observed)
  if not names:
    return reward
  parts = [
      _gated(jax.tree.map(lambda x: x[..., i], seen.beside),  # noqa: B023
             seen.observed, config.beside[name])
      for i, name in enumerate(names)
  ]  # fmt: skip
  weights = jnp.array([1.0, *(config.beside[name].weight for name in names)])
  rewards = _stack([reward, *parts])
  if o.combine == "sum":
    return aggregation.weighted_sum(*rewards, weights=weights)
  credit = multi_reward.multi_reward_credit(rollouts, rewards, weights=weights)
  return Reward(credit.advantages[..., 0], jnp.any(rewards.valid, axis=-1))


def wide_groups(config, spread: running.Spread, reward: Reward):
  """Groups whose rewards are apart as far as usual, and the spread so far.

  Returns:
    True `[B]` for groups that stay in the loss, judged by earlier batches,
    and the spread with this batch in it.
  """
  o = config.shaping.spread
  wide = running.wide_groups(
      spread, *reward, factor=o.factor, min_updates=o.after
  )
  compared = jnp.sum(reward.valid, axis=-1) > 1
  mean = masking.masked_mean(running.group_spreads(*reward), compared)
  return wide, running.update_spread(spread, mean, decay=o.decay)


def metrics(config, seen) -> dict[str, Array]:
  """The mean of each reward beside the source, before weights and gates."""
  rows = {}
  for i, name in enumerate(beside_names(config)):
    part = jax.tree.map(lambda x: x[..., i], seen.beside)  # noqa: B023
    rows[f"beside/{name}"] = Mean.of(*part).value
  return rows


def check(config) -> None:
  """Raises ValueError, naming the field, unless the rewards make sense."""
  kinds = (*get_args(likelihood.Kind), "jensen")
  for field, table, name in (
      ("reward.name", SOURCES, config.reward.name),
      ("reward.votes", VOTES, config.reward.votes),
      ("reward.likelihood", kinds, config.reward.likelihood),
      ("shaping.combine", COMBINE, config.shaping.combine),
      *((f"beside.{x}.gate", GATES, config.beside[x].gate) for x in BESIDE),
  ):
    choose(field, dict.fromkeys(table), name)
  checks.at_least("config", 0, **{"shaping.tiers": config.shaping.tiers})
  o = config.shaping.spread
  checks.at_least("config", 0.0, **{"shaping.spread.factor": o.factor})
  checks.at_least("config", 0, **{"shaping.spread.after": o.after})
  checks.probability("config", **{"shaping.spread.decay": o.decay})
  _check_binary(config)
  _check_twin(config)
  _check_likelihood(config)
  if config.shaping.combine == "normalized":
    _check_normalized(config)


def _check_binary(config) -> None:
  """What noise and corrections say of verdicts holds for 0 and 1 only."""
  name = config.reward.name
  lies = config.noise.name != "none" or config.correction.name != "none"
  if lies and name in ("likelihood", "random", "ranks"):
    raise ValueError(
        f"config.reward.name {name!r} is no verdict: config.noise.name and "
        "config.correction.name must be 'none'."
    )
  if config.shaping.tiers and config.correction.name != "none":
    raise ValueError(
        f"config.shaping.tiers = {config.shaping.tiers} would cut off what "
        f"config.correction.name {config.correction.name!r} adds: one of them "
        "must be off."
    )


def _check_twin(config) -> None:
  if config.reward.name != "twin":
    return
  if not config.task.rewording:
    raise ValueError(
        "config.reward.name 'twin' needs two wordings of each prompt: set "
        "config.task.rewording."
    )
  if config.sampling.max_refills:
    raise ValueError(
        "config.sampling.max_refills must be 0 for config.reward.name 'twin': "
        "a refilled group has no twin."
    )


def _check_likelihood(config) -> None:
  o = config.reward
  if o.debias and o.likelihood in ("log_prob", "mean_log_prob", "jensen"):
    raise ValueError(
        "config.reward.debias needs a probability for "
        f"config.reward.likelihood, got {o.likelihood!r}."
    )
  if o.likelihood == "jensen" and config.sampling.group_size < 2:
    raise ValueError(
        "config.sampling.group_size must be at least 2 for "
        "config.reward.likelihood 'jensen', got "
        f"{config.sampling.group_size}: a lone sample has nothing to add to."
    )


def _check_normalized(config) -> None:
  o = config.credit
  kept = (o.name, o.estimator, o.whiten) == ("group", "none", False)
  if not kept or config.recipe.name:
    raise ValueError(
        "config.shaping.combine 'normalized' makes advantages already: "
        "config.credit must have name 'group', estimator 'none' and "
        "whiten=False, and config.recipe.name must be ''."
    )
