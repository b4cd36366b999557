"""Several reward models of one thing: trained apart, read together.

    members = ensembles.fit(key, init, train, num_members=5)
    scores = ensembles.predict(apply, members.params, x)      # [..., M]
    reward = ensembles.mean_minus_std(ensembles.standardize(scores, scale))

Members are the last axis of scores. They are known up to scale and offset
only: standardise before a minimum, or it picks the one with the lowest
offset. Averaging helps against errors that members do not share; against
those they share no rule does.

References:
  Coste et al., "Reward Model Ensembles Help Mitigate Overoptimization",
    2023, arXiv:2310.02743 (worst case, mean minus variance).
  Eisenstein et al., "Helping or Herding?", 2023.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Members = Float[Array, "*batch M"]
Mask = Bool[Array, "*batch M"]


def member_keys(
    key: Key[Array, ""], num_members: int
) -> Key[Array, " M"]:
  """A key for each member, whatever their number; `key` is consumed."""
  checks.at_least("member_keys", 1, num_members=num_members)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_members))


def init_members(
    key: Key[Array, ""],
    init: Callable[[Array], PyTree],
    *,
    num_members: int,
    share: Callable[[str], bool] | None = None,
) -> PyTree:
  """Parameters of M members, stacked along a new first axis.

  Args:
    key: consumed.
    init: from a key to the parameters of one member.
    num_members: M (static).
    share: takes a path such as `params/encoder/kernel`; True where every
      member starts with the values of the first: members that differ by
      their fine-tuning only. None: all values are their own, as if each
      member had been pretrained alone (static).

  Raises:
    ValueError: if `num_members` < 1 or `share` accepts no path.
  """
  params = jax.vmap(init)(member_keys(key, num_members))
  if share is None:
    return params
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
  leaves = jax.tree_util.tree_leaves_with_path(params)
  paths = [name(path) for path, _ in leaves]
  if not any(map(share, paths)):
    raise ValueError(
        f"init_members: share must accept some path, got none of {paths}."
    )
  same = lambda x: jnp.broadcast_to(x[:1], x.shape)
  return jax.tree_util.tree_map_with_path(
      lambda path, x: same(x) if share(name(path)) else x, params
  )


def fit(
    key: Key[Array, ""],
    init: Callable[[Array], PyTree],
    train: Callable[[Array, PyTree], Any],
    *,
    num_members: int,
    share: Callable[[str], bool] | None = None,
) -> Any:
  """Trains M members side by side, each exactly as if it were alone.

  Each has its own start, its own order of the data and its own optimiser;
  no loss is divided by M.

  Args:
    key: consumed.
    init: from a key to the parameters of one member.
    train: `(key, params) -> result` for one member, such as a `partial` of
      `fitting.fit`.
    num_members: M (static).
    share: see `init_members`.

  Returns:
    The results, every array with a new first axis of members.
  """
  init_key, train_key = jax.random.split(key)
  params = init_members(
      init_key, init, num_members=num_members, share=share
  )
  return jax.vmap(train)(member_keys(train_key, num_members), params)


def predict(
    apply: Callable[..., Array], params: PyTree, *inputs: Any
) -> Float[Array, "*batch M"]:
  """Scores of all members, the last axis, on the same inputs."""
  members = lambda params: apply(params, *inputs)
  return jax.vmap(members, out_axes=-1)(params)


class Scale(NamedTuple):
  """Mean and standard deviation of each member on reference samples."""

  mean: Float[Array, " M"]
  std: Float[Array, " M"]


def fit_scale(
    reference: Float[Array, "*batch M"], mask: Mask | None = None
) -> Scale:
  """The `Scale` of the members on samples of the reference policy.

  Keep it with the parameters: a reward means nothing without it.

  Gradient: none; the scale is data.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("fit_scale", reference=reference, mask=mask)
  reference = jax.lax.stop_gradient(reference)
  axes = tuple(range(reference.ndim - 1))
  mean = masking.masked_mean(reference, mask, axes)
  return Scale(mean, jnp.sqrt(masking.masked_variance(reference, mask, axes)))


def standardize(members: Members, scale: Scale) -> Members:
  """(member - mean) / std; a member that was constant is only centred.

  Gradient: flows through `members`.
  """
  as_row = lambda x: x.reshape((1,) * (members.ndim - 1) + x.shape)
  std = jnp.where(scale.std > 0, scale.std, 1.0)
  return (masking.as_accumulator(members) - as_row(scale.mean)) / as_row(std)


def mean(members: Members, mask: Mask | None = None) -> Float[Array, "*batch"]:
  """Mean over valid members, 0 without any.

  Gradient: shared equally by the valid members.
  """
  return masking.masked_mean(members, mask, -1)


def median(
    members: Members, mask: Mask | None = None
) -> Float[Array, "*batch"]:
  """Median over valid members; of an even number the mean of the middle two.

  Gradient: to the middle members.
  """
  checks.same_shape("median", members=members, mask=mask)
  mask = jnp.ones(members.shape, bool) if mask is None else mask
  count = jnp.sum(mask, axis=-1, keepdims=True)
  ordered = jnp.sort(masking.fill_masked(members, mask, jnp.inf), axis=-1)
  middle = jnp.concatenate([(count - 1) // 2, count // 2], axis=-1)
  pair = jnp.take_along_axis(ordered, jnp.maximum(middle, 0), axis=-1)
  return jnp.where(count[..., 0] > 0, jnp.mean(pair, axis=-1), 0.0)


def worst_case(
    members: Members, mask: Mask | None = None
) -> Float[Array, "*batch"]:
  """The lowest valid member (WCO), 0 without any.

  Gradient: to the lowest member.
  """
  checks.same_shape("worst_case", members=members, mask=mask)
  lowest = jnp.min(masking.fill_masked(members, mask, jnp.inf), axis=-1)
  if mask is None:
    return lowest
  return jnp.where(jnp.any(mask, axis=-1), lowest, 0.0)


def mean_minus_variance(
    members: Members,
    mask: Mask | None = None,
    *,
    coefficient: Scalar,
    ddof: int = 0,
) -> Float[Array, "*batch"]:
  """mean - coefficient * variance (UWO): not invariant to the scale.

  Args:
    members: scores.
    mask: True for valid members.
    coefficient: at least 0; 0 is the mean. In 1 / reward units.
    ddof: of the variance: 0 population, 1 sample (static). One member has
      variance 0 with either.

  Gradient: flows through `members`.

  Raises:
    ValueError: if shapes differ or `coefficient` is negative.
  """
  checks.at_least("mean_minus_variance", 0.0, coefficient=coefficient)
  variance = masking.masked_variance(members, mask, -1, ddof=ddof)
  return mean(members, mask) - coefficient * variance


def mean_minus_std(
    members: Members,
    mask: Mask | None = None,
    *,
    coefficient: Scalar = 1.0,
    ddof: int = 0,
) -> Float[Array, "*batch"]:
  """mean - coefficient * standard deviation.

  Args: as `mean_minus_variance`; `coefficient` has no unit.

  Gradient: flows through `members`; that of the std is 0 where all agree.

  Raises:
    ValueError: if shapes differ or `coefficient` is negative.
  """
  checks.at_least("mean_minus_std", 0.0, coefficient=coefficient)
  return mean(members, mask) - coefficient * _std(members, mask, ddof)


def weighted(
    members: Members, weights: Float[Array, " M"], mask: Mask | None = None
) -> Float[Array, "*batch"]:
  """sum w r / sum w over valid members.

  Args:
    members: scores.
    weights: at least 0, such as accuracies on held-out pairs.
    mask: True for valid members.

  Gradient: flows through `members` and `weights`.

  Raises:
    ValueError: if shapes do not fit.
  """
  checks.same_shape("weighted", members=members, mask=mask)
  if weights.shape != members.shape[-1:]:
    raise ValueError(
        f"weighted: weights must be [M] for members [*batch, M], got "
        f"{weights.shape} for {members.shape}."
    )
  wide = jnp.broadcast_to(
      weights.reshape((1,) * (members.ndim - 1) + weights.shape), members.shape
  )
  wide = masking.fill_masked(wide, mask)
  total = jnp.sum(wide * masking.fill_masked(members, mask), axis=-1)
  return masking.safe_divide(total, jnp.sum(wide, axis=-1))


class Strength(NamedTuple):
  """How much better members find the chosen one, and how they disagree."""

  mean: Float[Array, "*batch"]
  std: Float[Array, "*batch"]


def preference_strength(
    margins: Members, mask: Mask | None = None, *, ddof: int = 0
) -> Strength:
  """Mean and std over members of r(chosen) - r(rejected).

  A strongly negative mean says that the label is probably wrong, as long as
  the members were trained too briefly to have learned the wrong labels.

  Args:
    margins: of each member.
    mask: True for valid members.
    ddof: of the std (static).

  Returns:
    `Strength`, in reward units.

  Gradient: flows through `margins`.

  References:
    Wang et al., "Secrets of RLHF in Large Language Models Part II: Reward
      Modeling", 2024, arXiv:2401.06080.
  """
  return Strength(mean(margins, mask), _std(margins, mask, ddof))


def _std(members, mask, ddof):
  variance = masking.masked_variance(members, mask, -1, ddof=ddof)
  positive = variance > 0
  # The root's gradient at 0 is infinite: it never sees it.
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
