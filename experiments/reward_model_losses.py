"""The losses of `config.loss`.

Axes: N blocks, B rows, K readouts of a row, O outputs of a readout.
"""

from collections.abc import Callable
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from experiments import reward_model_noise
from rewardjax.core import checks, links
from rewardjax.core.masking import Mean
from rewardjax.noise import preferences, selection
from rewardjax.reward_models import latent, ordinal, pairwise, process
from rewardjax.types import NoiseRates

# Which losses there are for rows of a kind; the first is the usual one.
LOSSES = {
    "pairs": ("bradley_terry", "ordinal", "rao_kupper"),
    "ties": ("rao_kupper", "bradley_terry", "ordinal"),
    "ratings": ("regression",),
    "rankings": ("listwise",),
    "steps": ("prm", "orm"),
}
COMPARISONS = ("pairs", "ties")
MEMBERS = "members"  # the axis over which a step is mapped
STRENGTHS = ("none", "margin", "weight")


def check_config(config, kind: str) -> None:
  """Raises ValueError, naming the field, unless the loss suits the kind."""
  o = config.loss
  if o.name not in LOSSES[kind]:
    raise ValueError(
        f"config.loss.name must be one of {', '.join(LOSSES[kind])} for rows "
        f"of kind {kind!r}, got {o.name!r}."
    )
  where = "config.loss"
  checks.one_of(where, STRENGTHS, strength=o.strength)
  checks.within(where, 0.0, 0.5, smoothing=o.smoothing)
  checks.within(where, 0.0, low_open=True, beta=o.beta)
  checks.at_least(where, 0.0, centre=o.centre, strength_scale=o.strength_scale)
  if o.tie_factor:
    checks.within(where, 1.0, low_open=True, tie_factor=o.tie_factor)
  checks.at_least(where, 2, grades=o.grades)
  if not o.scale[0] < o.scale[1]:
    raise ValueError(f"config.loss.scale must be (low, high), got {o.scale}.")
  levels = o.levels
  checks.at_least(where, 0, levels=levels)
  checks.one_of(where, get_args(ordinal.Mode), regions=o.regions)
  if levels and (o.name != "ordinal" or o.grades % levels):
    raise ValueError(
        "config.loss.levels needs name='ordinal' and grades that are a "
        f"multiple of it, got {levels}, {o.name!r} and {o.grades}."
    )
  reward_model_noise.check(config, kind)


def rewards(config, params: PyTree, outputs: Array, user: Array) -> Array:
  """One number [N, B, K] of every readout; of users, by their mixtures.

  Args:
    config: of the run.
    params: of one member.
    outputs: of the head [N, B, K, O].
    user: numbers [N, B]; -1 is nobody known: the mean of all users.
  """
  if config.loss.name == "ordinal":
    return ordinal.moments(outputs).mean
  if "users" not in params:
    return outputs[..., 0]
  table = latent.mixture_weights(params["users"])
  known = table[jnp.maximum(user, 0)]
  everybody = jnp.mean(table, axis=0).reshape(1, 1, -1)
  weights = jnp.where(user[..., None] < 0, everybody, known)
  return jnp.sum(weights[..., None, :] * outputs, axis=-1)


def tie_factor(config, params: PyTree):
  """Given, or fitted: above 1 whatever the parameter."""
  if config.loss.tie_factor:
    return config.loss.tie_factor
  return 1.0 + jax.nn.softplus(params["tie"])


def make(config, kind: str) -> Callable[..., tuple[Mean, dict[str, Mean]]]:
  """`(params, outputs, batch) -> (loss, metrics)`, means over rows.

  Rows of weight 0, and rows without a readout, count nothing; where no row
  counts, the mean is 0 of weight 0 and the gradient 0.
  """
  if kind in COMPARISONS:
    return lambda *args: _comparison(config, *args)
  make_one = {"ratings": _regression, "rankings": _listwise}.get(kind)
  if make_one is None:
    make_one = {"prm": _prm, "orm": _orm}[config.loss.name]
  return lambda *args: make_one(config, *args)


def _weighted(losses, weight, valid) -> Mean:
  weight = jnp.where(valid, weight, 0.0)
  return Mean(jnp.sum(weight * losses), jnp.sum(weight))


def _comparison(config, params, outputs, batch):
  o, valid = config.loss, jnp.all(batch["mask"], axis=-1)
  found = rewards(config, params, outputs, batch["user"])
  diff, outcome = found[..., 0] - found[..., 1], batch["outcome"]
  # As the annotator has it: the preferred one first.
  said = jnp.where(outcome < 0, -diff, diff)
  if o.name == "rao_kupper":
    factor = tie_factor(config, params)
    losses = pairwise.rao_kupper(diff, outcome, valid, tie_factor=factor)
  elif o.name == "ordinal":
    first, second = outputs[..., 0, :], outputs[..., 1, :]
    swap = (outcome < 0)[..., None]
    losses = -ordinal.preference_log_prob(
        jnp.where(swap, second, first),
        jnp.where(swap, first, second),
        _region(o, batch),
        mask=valid,
    )
  else:
    losses = _bradley_terry(config, diff, said, batch, valid)
  weight = batch["weight"] * _selected(config, losses, batch, valid)
  if o.strength == "weight":
    weight = weight * o.strength_scale * batch["strength"]
  if o.centre:
    penalty = pairwise.centre_penalty(found[..., 0], found[..., 1], valid)
    losses = losses + o.centre * penalty
  decided = valid & (outcome != 0) & (batch["weight"] > 0)
  won = (said > 0) + 0.5 * (said == 0)
  metrics = {
      "accuracy": Mean.of(won.astype(jnp.float32), decided),
      "margin": Mean.of(said, decided),
  }
  return _weighted(losses, weight, valid), metrics


def _region(o, batch):
  """Grades that agree with the levels of both, where they are known."""
  if not o.levels:
    return None
  return ordinal.region_mask(
      batch["high_level"],
      batch["low_level"],
      num_grades=o.grades,
      num_levels=o.levels,
      mode=o.regions,
  )


def _bradley_terry(config, diff, said, batch, valid):
  o = config.loss
  if config.noise.name in reward_model_noise.CORRECTED:
    rates = NoiseRates(batch["false_positive"], batch["false_negative"])
    labels = (batch["outcome"] > 0).astype(diff.dtype)
    args = (o.beta * diff, labels, rates, valid)
    if config.noise.name == "forward":
      return preferences.forward_loss(*args)
    return preferences.backward_loss(
        *args, min_youden=config.noise.min_youden
    )
  margin = batch.get("margin", 0.0)  # with `target`, of a relabelled pair
  if o.strength == "margin":
    margin = o.strength_scale * batch["strength"]
  target = batch.get("target", 1.0 - o.smoothing)
  return pairwise.pairwise_logistic(
      said, valid, target=target, margin=margin, beta=o.beta
  )


def _selected(config, losses, batch, valid):
  """1 for the rows that are learned from; a held-out batch has no step."""
  if (
      config.noise.name not in reward_model_noise.SELECTED
      or "step" not in batch
  ):
    return 1.0
  if config.noise.name == "co_teaching":  # by what the other finds easy
    peers = [(i, i ^ 1) for i in range(config.members)]
    losses = jax.lax.ppermute(jax.lax.stop_gradient(losses), MEMBERS, peers)
  keep = selection.keep_schedule(
      batch["step"].ravel()[0].astype(jnp.float32),
      rate=config.noise.false_positive,
      warmup=config.noise.warmup,
  )
  flat = selection.small_loss_weights(losses.ravel(), valid.ravel(), keep=keep)
  return flat.reshape(losses.shape)


def _regression(config, params, outputs, batch):
  valid = batch["mask"][..., 0]
  found = rewards(config, params, outputs, batch["user"])[..., 0]
  gaps = jnp.where(valid, found - batch["rating"], 0.0)
  low, high = config.loss.scale
  error = Mean.of(jnp.abs(gaps) * (high - low) / 2, valid)
  loss = _weighted(jnp.square(gaps), batch["weight"], valid)
  return loss, {"absolute_error": error}


def _listwise(config, params, outputs, batch):
  found = rewards(config, params, outputs, batch["user"])
  pairs = pairwise.listwise_pairs(found, batch["ranks"], batch["mask"])
  some = jnp.any(pairs.valid, axis=(-2, -1))
  count = jnp.maximum(jnp.sum(pairs.valid, axis=(-2, -1)), 1)
  mean = lambda x: jnp.sum(jnp.where(pairs.valid, x, 0.0), (-2, -1)) / count
  losses = mean(links.logistic(config.loss.beta * pairs.diff))
  won = mean((pairs.diff > 0) + 0.5 * (pairs.diff == 0))
  return _weighted(losses, batch["weight"], some), {
      "accuracy": Mean.of(won, some)
  }


def _prm(config, params, outputs, batch):
  logits, labels = outputs[..., 0], batch["labels"]
  mask = batch["mask"]
  if config.loss.until_first_error:
    mask = process.mask_after_first_error(labels > 0.5, mask)
  losses = process.prm_loss(logits, labels, mask)
  weight = jnp.broadcast_to(batch["weight"][..., None], losses.shape)
  right = ((logits > 0) == (labels > 0.5)).astype(jnp.float32)
  return _weighted(losses, weight, mask), {"accuracy": Mean.of(right, mask)}


def _orm(config, params, outputs, batch):
  logits, mask = outputs[..., 0], batch["mask"]
  some = jnp.any(mask, axis=-1)
  losses = process.orm_loss(logits, batch["correct"], mask)
  count = jnp.sum(mask, axis=-1, keepdims=True)
  last = jnp.take_along_axis(logits, jnp.maximum(count - 1, 0), -1)[..., 0]
  right = ((last > 0) == batch["correct"]).astype(jnp.float32)
  return _weighted(losses, batch["weight"], some), {
      "accuracy": Mean.of(right, some)
  }
