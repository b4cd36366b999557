"""Sampling laws: what the sampler draws from is what the scorer scores.

One `SamplingLaw` goes to both, so that the ratio of the first update is 1.
"""

import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


class SamplingLaw(NamedTuple):
  """How logits become a distribution; applied from top to bottom.

  temperature: logits are divided by it; the Python number 0 is greedy. A
    traced temperature must be positive.
  top_k: keeps the k most likely tokens (static); 0 keeps all. Tokens that
    tie with the k-th are kept too.
  top_p: keeps the most likely tokens until their mass, after `top_k`, reaches
    top_p; ties with the last one are kept too. The Python number 1 keeps all.
  min_p: keeps tokens with at least min_p times the probability of the most
    likely one. The Python number 0 keeps all.
  """

  temperature: Scalar = 1.0
  top_k: int = 0
  top_p: Scalar = 1.0
  min_p: Scalar = 0.0


PLAIN = SamplingLaw()  # the model's own distribution


def is_greedy(law: SamplingLaw) -> bool:
  """Whether the law is the argmax: known while tracing."""
  temperature = law.temperature
  return isinstance(temperature, numbers.Real) and temperature == 0


def check(where: str, law: SamplingLaw) -> None:
  """Raises ValueError unless the law's Python numbers make sense."""
  checks.at_least(where, 0.0, temperature=law.temperature)
  checks.at_least(where, 0, top_k=law.top_k)
  checks.within(where, 0.0, 1.0, low_open=True, top_p=law.top_p)
  checks.probability(where, min_p=law.min_p)


def tempered(
    law: SamplingLaw, logits: Float[Array, "*batch V"]
) -> Float[Array, "*batch V"]:
  """Logits divided by the temperature, float32 or wider; greedy: as given."""
  logits = masking.as_accumulator(logits)
  if is_greedy(law) or _is_number(law.temperature, 1):
    return logits
  return logits / jnp.asarray(law.temperature, logits.dtype)


def threshold(
    law: SamplingLaw, scaled: Float[Array, "*batch V"]
) -> Float[Array, "*batch"] | None:
  """The least tempered logit that the law keeps; None if it keeps all.

  Gradient: none; the kept set is constant under differentiation.
  """
  scaled = jax.lax.stop_gradient(scaled)
  if is_greedy(law):
    return jnp.max(scaled, axis=-1)
  least = None
  if 0 < law.top_k < scaled.shape[-1]:
    least = _quantile(scaled, jnp.ones_like(scaled), law.top_k)
  if not _is_number(law.top_p, 1):
    inside = True if least is None else scaled >= least[..., None]
    mass = jax.nn.softmax(jnp.where(inside, scaled, -jnp.inf), axis=-1)
    least = _quantile(scaled, mass, law.top_p)
  if not _is_number(law.min_p, 0):
    least = _within_min_p(scaled, least, law.min_p)
  return least


def _within_min_p(scaled, least, min_p):
  """The least kept logit once tokens below min_p * max p are dropped too.

  A logit that exists, not the bound itself: the scorer puts its cut half-way
  between this one and the next.
  """
  top = jnp.max(scaled, axis=-1)
  bound = top + jnp.log(jnp.asarray(min_p, scaled.dtype))
  bound = bound if least is None else jnp.maximum(least, bound)
  kept = scaled >= bound[..., None]
  return jnp.min(jnp.where(kept, scaled, jnp.inf), axis=-1)


def law_logits(
    law: SamplingLaw, logits: Float[Array, "*batch V"]
) -> Float[Array, "*batch V"]:
  """Log-probabilities under the law, in nats; -inf on tokens it excludes.

  Args:
    law: what to apply.
    logits: of the model, in any float type.

  Returns:
    Normalised log-probabilities, float32 or wider. A greedy law gives 0 to
    the first most likely token.

  Gradient: through the kept logits; 0 from excluded entries and, under a
    greedy law, everywhere. The law itself is held constant.

  Raises:
    ValueError: if temperature < 0, top_k < 0, top_p outside (0, 1] or min_p
      outside [0, 1].
  """
  check("law_logits", law)
  if is_greedy(law):
    best = jnp.argmax(logits, axis=-1)[..., None] == _vocabulary(logits)
    zero = jnp.zeros((), masking.as_accumulator(logits).dtype)
    return jnp.where(best, zero, -jnp.inf)
  scaled = tempered(law, logits)
  least = threshold(law, scaled)
  if least is None:
    return jax.nn.log_softmax(scaled, axis=-1)
  kept = scaled >= least[..., None]
  # Excluded entries become -inf last: their gradient is 0, not -p.
  inside = jnp.where(kept, scaled, -jnp.inf)
  total = jax.nn.logsumexp(inside, axis=-1, keepdims=True)
  return jnp.where(kept, scaled - total, -jnp.inf)


def inverse_cdf(
    log_probs: Float[Array, "*batch V"],
    uniforms: Float[Array, "*batch 2"],
    *,
    block: int = 128,
) -> Int[Array, "*batch"]:
  """The token at quantile `uniforms` of a categorical distribution.

  The first uniform chooses a block of neighbouring tokens, the second one a
  token inside: a float32 running sum over a whole vocabulary would lose
  tokens rarer than its last digit.

  Args:
    log_probs: normalised; -inf entries are never returned.
    uniforms: in [0, 1).
    block: tokens per block (static).

  Returns:
    Token ids.
  """
  size = log_probs.shape[-1]
  num_blocks = -(-size // block)
  pad = [(0, 0)] * (log_probs.ndim - 1) + [(0, num_blocks * block - size)]
  mass = jnp.pad(jnp.exp(log_probs), pad)
  mass = mass.reshape(*log_probs.shape[:-1], num_blocks, block)
  chosen = _quantile_index(jnp.sum(mass, axis=-1), uniforms[..., 0])
  row = jnp.take_along_axis(mass, chosen[..., None, None], axis=-2)[..., 0, :]
  return chosen * block + _quantile_index(row, uniforms[..., 1])


def _quantile_index(mass, uniform):
  """First index whose running sum exceeds uniform * total, never a mass 0."""
  running = jnp.cumsum(mass, axis=-1)
  beyond = running > uniform[..., None] * running[..., -1:]
  # Parallel running sums round unevenly: they can rise where the mass is 0,
  # and the last one need not be the largest.
  found = beyond & (mass > 0)
  first = jnp.argmax(found, axis=-1)
  return jnp.where(jnp.any(found, -1), first, jnp.argmax(mass, axis=-1))


def _vocabulary(logits):
  shape = (1,) * (logits.ndim - 1) + logits.shape[-1:]
  return jnp.arange(logits.shape[-1]).reshape(shape)


def _is_number(value, number):
  return isinstance(value, numbers.Real) and value == number


def _quantile(values, weights, target):
  """The largest value v with sum(weights where values >= v) >= target.

  Bisects the bit pattern of floats, which orders them like integers: exact,
  ties included, and many times faster than sorting a vocabulary.
  """
  keys = _ordered(values)
  target = jnp.asarray(target, weights.dtype)

  def halve(_, bounds):
    low, high = bounds  # low is reached, high + 1 is not
    # The mean rounded up, without overflow.
    middle = (low >> 1) + (high >> 1) + ((low | high) & 1)
    inside = keys >= middle[..., None]
    enough = jnp.sum(jnp.where(inside, weights, 0.0), axis=-1) >= target
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

  bounds = jnp.min(keys, axis=-1), jnp.max(keys, axis=-1)
  bits = jnp.iinfo(keys.dtype).bits
  key, _ = jax.lax.fori_loop(0, bits, halve, bounds)
  return jax.lax.bitcast_convert_type(_flip(key), values.dtype)


def _ordered(values):
  """Integers in the order of floats."""
  bits = 8 * values.dtype.itemsize
  # Adding 0 turns -0 into 0.
  raw = jax.lax.bitcast_convert_type(values + 0, jnp.dtype(f"int{bits}"))
  return _flip(raw)


def _flip(raw):
  """Reverses the order of negative patterns; its own inverse."""
  return jnp.where(raw < 0, raw ^ jnp.iinfo(raw.dtype).max, raw)
