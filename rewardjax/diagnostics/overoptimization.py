"""What is truly gained when a proxy is optimised harder and harder."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, statistics


def best_of_n_curve(
    proxy: Float[Array, "*batch N"],
    gold: Float[Array, "*batch N"],
    sizes: Int[Array, " K"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch K"]:
  """Gold of the proxy's favourite among n of the N samples, over all subsets.

      sum_i gold_i C(rank_i - 1, n - 1) / C(N, n),   rank 1 .. N by the proxy

  The unbiased estimate of best-of-n from N >= n draws: every subset of size
  n counts once, so curves are smooth where a single draw of n is noise.
  Equal proxies are tied, and a tie is broken at random.

  Args:
    proxy: what selects; -inf is never selected where there is a choice.
    gold: what counts; the proxy itself gives the other curve.
    sizes: n, each from 1.
    mask: True for valid samples, the N of a row.

  Returns:
    Gold units, float32 or wider; NaN where a row has fewer than n samples.

  Gradient: flows through `gold`; the choice is held.

  Raises:
    ValueError: if shapes differ.

  References:
    Nakano et al., "WebGPT", 2021, arXiv:2112.09332.
    Gao et al., "Scaling Laws for Reward Model Overoptimization", 2022,
      arXiv:2210.10760.
  """
  checks.same_shape("best_of_n_curve", proxy=proxy, gold=gold, mask=mask)
  below, not_above = statistics.tie_bounds(
      jax.lax.stop_gradient(masking.as_accumulator(proxy)), mask
  )
  mask = jnp.ones(proxy.shape, bool) if mask is None else mask
  gold = masking.fill_masked(gold, mask)
  count = jnp.sum(mask, axis=-1)

  def one(n):
    weights = _selection(below, not_above, count, n, gold.dtype)
    value = jnp.sum(jnp.where(mask, weights * gold, 0.0), axis=-1)
    return jnp.where(n <= count, value, jnp.nan)

  return jax.vmap(one, out_axes=-1)(sizes)


def _selection(below, not_above, count, n, dtype):
  """The chance of each sample to be the favourite of a subset of size n."""
  size = below.shape[-1]
  m = jnp.arange(1, size + 1, dtype=dtype).reshape((1,) * count.ndim + (-1,))
  # C(k, n) / C(N, n) is the product of 1 - n / m over m = k + 1 .. N: sums of
  # such logarithms keep digits that differences of log-gammas lose.
  ratio = n.astype(dtype) / m
  inside = ratio < 1
  logs = jnp.log1p(-jnp.where(inside, ratio, 0.0))
  logs = jnp.where(inside, logs, -jnp.inf)
  logs = jnp.where(m <= count[..., None].astype(dtype), logs, 0.0)
  tails = jnp.flip(jnp.cumsum(jnp.flip(logs, -1), axis=-1), -1)
  tails = jnp.concatenate([tails, jnp.zeros_like(tails[..., :1])], axis=-1)
  share = jnp.exp(tails)  # [..., k] is C(k, n) / C(N, n)
  high = jnp.take_along_axis(share, not_above, axis=-1)
  low = jnp.take_along_axis(share, below, axis=-1)
  ties = jnp.maximum(not_above - below, 1).astype(dtype)
  # Alone, without the difference: C(k, n) - C(k - 1, n) = C(k, n) n / k.
  alone = high * n.astype(dtype) / jnp.maximum(not_above, 1).astype(dtype)
  return jnp.where(ties > 1, (high - low) / ties, alone)


def transferred_gains(
    members: Float[Array, "*batch N M"],
    size: Int[Array, ""],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch M M"]:
  """What member j thinks of best-of-n by member i, over its mean.

  The diagonal is what each promises itself. A column far below it off the
  diagonal: gains that the others do not see; as high as it: errors that all
  share.

  Args:
    members: scores of M reward models on N samples, standardised.
    size: n.
    mask: True for valid samples.

  Returns:
    [i, j], reward units of j; NaN where a row has fewer than n samples.

  Gradient: flows through the scores of j; the choice is held.

  Raises:
    ValueError: if shapes differ.

  References:
    Eisenstein et al., "Helping or Herding?", 2023, arXiv:2312.09244.
  """
  checks.same_shape("transferred_gains", samples=members[..., 0], mask=mask)
  columns = jnp.moveaxis(members, -1, 0)
  sizes = jnp.stack([size, jnp.ones_like(size)])

  def one(proxy, gold):
    curve = best_of_n_curve(proxy, gold, sizes, mask)
    return curve[..., 0] - curve[..., 1]

  by_gold = jax.vmap(one, (None, 0), out_axes=-1)
  return jax.vmap(by_gold, (0, None), out_axes=-2)(columns, columns)


def best_of_n_kl(sizes: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
  """log n - (n - 1) / n: KL of best-of-n from its base, in nats.

  An upper bound, exact where no two samples of the base share a score.

  References:
    Stiennon et al., "Learning to summarize from human feedback", 2020.
    Beirami et al., "Theoretical guarantees on the best-of-n alignment
      policy", 2024 (bound).
  """
  n = jnp.maximum(sizes, 1).astype(jnp.float32)
  return jnp.log(n) - (n - 1) / n
