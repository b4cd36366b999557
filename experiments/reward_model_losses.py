"""The losses of `config.loss`, and what they read of the rows.

Axes: N blocks, B rows, K readouts of a row, O outputs of a readout.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from experiments.reward_model_data import Data, Row
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
_LABELS = {
    "ties": "label",
    "ratings": "rating",
    "rankings": "ranks",
    "steps": "labels",
}
STRENGTHS = ("none", "margin", "weight")
NOISES = ("none", "forward", "backward", "small_loss")
GROUPS = ("", "annotator", "source")


def check_config(config, kind: str) -> None:
  """Raises ValueError, naming the field, unless the loss suits the kind."""
  o, noise = config.loss, config.noise
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
  checks.one_of("config.noise", NOISES, name=noise.name)
  checks.one_of("config.noise", GROUPS, by=noise.by)
  if noise.name != "none" and o.name != "bradley_terry":
    raise ValueError(
        f"config.noise.name={noise.name!r} needs config.loss.name="
        f"'bradley_terry', got {o.name!r}."
    )
  corrected = noise.name in ("forward", "backward")
  if corrected and (o.smoothing or o.strength == "margin"):
    raise ValueError(
        f"config.noise.name={noise.name!r} goes with neither smoothing nor "
        "margins: each changes what a label means."
    )
  if noise.name == "small_loss" and config.num_microbatches > 1:
    raise ValueError(
        "config.noise.name='small_loss' ranks a whole batch: "
        f"num_microbatches must be 1, got {config.num_microbatches}."
    )


def targets(config, data: Data, users: Mapping[str, int]) -> list[dict]:
  """What the loss reads of each row, under the same names for every row.

  Raises:
    ValueError: naming row and field, for a row this loss cannot learn from.
  """
  return [_targets(config, data.kind, row, users) for row in data.rows]


def check_differences(config, data: Data) -> None:
  """Raises ValueError if all rows say the same: nothing could be learned."""
  if data.kind == "pairs":
    return  # chosen and rejected differ
  field = _LABELS[data.kind]
  if config.loss.name == "orm":
    field = "correct"
  name = "outcome" if field == "label" else field
  values = [row.values[name] for row in data.rows]
  if data.kind == "rankings":
    same = all(len(set(ranks)) == 1 for ranks in values)
  elif data.kind == "ties":
    same = not any(values)
  else:
    same = len(set(_flat(values))) == 1
  if same:
    raise ValueError(
        f"{data.rows[0].place}, and all others: field {field!r} is the same "
        "everywhere: there is nothing to tell apart."
    )


def _flat(values):
  return [x for v in values for x in (v if isinstance(v, tuple) else (v,))]


def _targets(config, kind: str, row: Row, users) -> dict[str, Any]:
  o, found = config.loss, {"weight": row.values["weight"], "user": 0}
  if users:
    name = _named(row, "user", users, "this model's users")
    found["user"] = users[name]
  if kind in COMPARISONS:
    found["outcome"] = row.values["outcome"]
    if not found["outcome"] and o.name != "rao_kupper":
      raise ValueError(
          f"{row.place}: field 'label' is 0, a tie, which "
          f"config.loss.name={o.name!r} cannot express; use 'rao_kupper'."
      )
    if o.strength != "none":
      if "strength" not in row.values:
        raise ValueError(
            f"{row.place}: field 'strength' is missing, and "
            f"config.loss.strength is {o.strength!r}."
        )
      found["strength"] = row.values["strength"]
    if config.noise.name in ("forward", "backward"):
      found |= _rates(config.noise, row)._asdict()
  elif kind == "ratings":
    (low, high), rating = o.scale, row.values["rating"]
    if not low <= rating <= high:
      raise ValueError(
          f"{row.place}: field 'rating' must be in config.loss.scale, "
          f"[{low:g}, {high:g}], got {rating:g}."
      )
    found["rating"] = 2 * (rating - low) / (high - low) - 1
  else:
    names = {"rankings": ("ranks",), "steps": ("labels", "correct")}[kind]
    found |= {name: row.values[name] for name in names}
  return found


def _named(row: Row, field: str, known, what: str) -> str:
  name = row.names.get(field)
  if name is None:
    raise ValueError(f"{row.place}: field {field!r} is missing.")
  if name not in known:
    raise ValueError(
        f"{row.place}: field {field!r} is {name!r}, unknown to {what}: "
        f"{', '.join(sorted(known))}."
    )
  return name


def _rates(noise, row: Row) -> NoiseRates:
  """Of the row's annotator or source, or of everybody."""
  if not noise.by:
    return NoiseRates(noise.false_positive, noise.false_negative)
  table = noise.rates.to_dict() if noise.rates else {}
  name = _named(row, noise.by, table, "config.noise.rates")
  rate = table[name]
  return NoiseRates(*(rate if isinstance(rate, list | tuple) else (rate, rate)))


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


def _bradley_terry(config, diff, said, batch, valid):
  o = config.loss
  if config.noise.name in ("forward", "backward"):
    rates = NoiseRates(batch["false_positive"], batch["false_negative"])
    labels = (batch["outcome"] > 0).astype(diff.dtype)
    args = (o.beta * diff, labels, rates, valid)
    if config.noise.name == "forward":
      return preferences.forward_loss(*args)
    return preferences.backward_loss(
        *args, min_youden=config.noise.min_youden
    )
  margin = 0.0
  if o.strength == "margin":
    margin = o.strength_scale * batch["strength"]
  return pairwise.pairwise_logistic(
      said, valid, target=1.0 - o.smoothing, margin=margin, beta=o.beta
  )


def _selected(config, losses, batch, valid):
  """1 for the rows that are learned from; a held-out batch has no step."""
  if config.noise.name != "small_loss" or "step" not in batch:
    return 1.0
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
