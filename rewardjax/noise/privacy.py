"""Noise that is added on purpose: randomised response, and who learns from it.

Agents act in turn on a private signal s and on the public belief, and publish
an action x that is randomised for their privacy. The belief is the public log
likelihood ratio l = log P(history | 1) / P(history | 0); with signals
N(+-1, std^2) an agent does best by acting 1 where s is above `threshold(l)`.

Both responses are channels of `noise.channels`: symmetric, one with a constant
rate, one whose rate falls with the distance of the signal to the threshold.

References:
  "Differentially Private Sequential Learning".
  Warner, "Randomized Response", 1965.
  Bikhchandani, Hirshleifer and Welch, "A Theory of Fads, Fashion, Custom, and
    Cultural Change as Informational Cascades", 1992.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float, Key

from rewardjax.core import checks, masking
from rewardjax.noise import channels
from rewardjax.types import NoiseRates, Scalar

Response = Literal["none", "constant", "smooth"]


def response_rates(epsilon: Scalar) -> NoiseRates:
  """Both rates 1 / (1 + e^epsilon); the Youden index is tanh(epsilon / 2).

  Raises:
    ValueError: if `epsilon` is negative.
  """
  checks.at_least("response_rates", 0.0, epsilon=epsilon)
  rate = jax.nn.sigmoid(-jnp.asarray(epsilon, float))
  return NoiseRates(rate, rate)


def smooth_response_rates(
    distances: Float[Array, "*shape"], *, epsilon: Scalar
) -> NoiseRates:
  """Both rates exp(-epsilon * distance) / 2: an obvious action is kept.

  Args:
    distances: |s - threshold|, 0 or more, in units of the signal.
    epsilon: privacy loss per unit of the signal.

  Gradient: flows through `distances` and `epsilon`.

  Raises:
    ValueError: if `epsilon` is negative.
  """
  checks.at_least("smooth_response_rates", 0.0, epsilon=epsilon)
  distances = masking.as_accumulator(distances)
  rate = 0.5 * jnp.exp(-epsilon * distances)
  return NoiseRates(rate, rate)


def randomized_response(
    key: Key[Array, ""],
    actions: channels.Labels,
    *,
    epsilon: Scalar,
) -> Float[Array, "*batch G"]:
  """The action, flipped at the constant rate; epsilon-private.

  Args:
    key: consumed.
    actions: Bool, or 0 and 1.
    epsilon: 0 publishes a fair coin.
  """
  return channels.flip_binary(key, actions, response_rates(epsilon))


def smooth_randomized_response(
    key: Key[Array, ""],
    signals: Float[Array, "*batch G"],
    thresholds: Float[Array, "*#batch #G"],
    *,
    epsilon: Scalar,
) -> Float[Array, "*batch G"]:
  """1[s > t], flipped with probability exp(-epsilon |s - t|) / 2.

  The same law as 1[s + noise > t] with Laplace noise of scale 1 / epsilon.
  So for any two signals |log P(x | s) - log P(x | s')| <= epsilon |s - s'|.

  Args:
    key: consumed.
    signals: private.
    thresholds: of the action.
    epsilon: privacy loss per unit of the signal.
  """
  where = "smooth_randomized_response"
  checks.broadcasts_to(where, signals.shape, thresholds=thresholds)
  distances = jnp.abs(signals - thresholds)
  rates = smooth_response_rates(distances, epsilon=epsilon)
  return channels.flip_binary(key, signals > thresholds, rates)


def threshold(
    log_ratio: Float[Array, "*shape"], *, std: Scalar = 1.0
) -> Float[Array, "*shape"]:
  """-std^2 l / 2: above this signal, belief and signal together favour 1.

  Raises:
    ValueError: if `std` is not positive.
  """
  checks.within("threshold", 0.0, low_open=True, std=std)
  return -(std**2) * masking.as_accumulator(log_ratio) / 2


def action_log_probability(
    thresholds: Float[Array, "*shape"],
    *,
    mean: Scalar,
    std: Scalar = 1.0,
    epsilon: Scalar = 0.0,
    response: Response = "smooth",
) -> Float[Array, "*shape"]:
  """log P(x = 1) of a published action, the signal being N(mean, std^2).

  With u = (t - mean) / std, e = epsilon std, Phi the normal distribution
  function and Phi' = 1 - Phi:

      none      Phi'(u)
      constant  f + (1 - 2 f) Phi'(u),  f = 1 / (1 + e^epsilon)
      smooth    Phi'(u) - exp(e^2/2 + e u) Phi'(u + e) / 2
                        + exp(e^2/2 - e u) Phi(u - e) / 2

  Computed in logarithms: beliefs grow until both probabilities are tiny.
  P(x = 0) is that of the mirror image, thresholds and mean negated.

  Args:
    thresholds: of the action.
    mean: of the signal, given the state.
    std: of the signal.
    epsilon: of the response; not read by "none".
    response: how actions are randomised (static).

  Gradient: flows through `thresholds`.

  Raises:
    ValueError: if `response` is no choice, or a number is out of range.
  """
  where = "action_log_probability"
  checks.one_of(where, ("none", "constant", "smooth"), response=response)
  checks.within(where, 0.0, low_open=True, std=std)
  checks.at_least(where, 0.0, epsilon=epsilon)
  u = (masking.as_accumulator(thresholds) - mean) / std
  above = log_ndtr(-u)
  if response == "none":
    return above
  if response == "constant":
    kept, flipped = (
        above + jax.nn.log_sigmoid(jnp.asarray(epsilon, u.dtype)),
        log_ndtr(u) + jax.nn.log_sigmoid(-jnp.asarray(epsilon, u.dtype)),
    )
    return jnp.logaddexp(kept, flipped)
  e = epsilon * std
  # Actions 1 that are flipped, at most half of all actions 1 ...
  lost = e**2 / 2 + e * u + log_ndtr(-u - e) - math.log(2)
  kept = above + jnp.log1p(-jnp.exp(jnp.minimum(lost - above, -math.log(2))))
  # ... and actions 0 that are.
  gained = e**2 / 2 - e * u + log_ndtr(u - e) - math.log(2)
  return jnp.logaddexp(kept, gained)


def update_belief(
    log_ratio: Float[Array, "*shape"],
    published: Bool[Array, "*shape"] | Float[Array, "*shape"],
    *,
    std: Scalar = 1.0,
    epsilon: Scalar = 0.0,
    response: Response = "smooth",
) -> Float[Array, "*shape"]:
  """l + log P(x | 1, l) / P(x | 0, l), by the law of randomised actions.

  To read a randomised action as if it were the action itself would be
  overconfident: the likelihood is that of what is published.

  Args:
    log_ratio: the public belief before, in nats.
    published: actions, Bool or 0 and 1.
    std: of the signals N(+-1, std^2).
    epsilon: see `action_log_probability`.
    response: how actions are randomised (static).

  Gradient: flows through `log_ratio`.
  """
  checks.same_shape("update_belief", log_ratio=log_ratio, published=published)
  log_ratio = masking.as_accumulator(log_ratio)
  at = threshold(log_ratio, std=std)
  law = dict(std=std, epsilon=epsilon, response=response)
  ratio = lambda t, mean: action_log_probability(
      t, mean=mean, **law
  ) - action_log_probability(t, mean=-mean, **law)
  is_bool = published.dtype == jnp.bool_
  acted = published if is_bool else published > 0.5
  # x = 0 at (t, mean) is x = 1 at (-t, -mean).
  return log_ratio + jnp.where(acted, ratio(at, 1.0), ratio(-at, -1.0))


def correct_cascade_probability(
    accuracy: float, *, epsilon: float = math.inf
) -> float:
  """P(the herd is right) with binary signals and the constant response.

  Until a herd starts every agent follows its own signal, so l is a random
  walk with steps d = log a / (1 - a), where a is how often a published action
  is right. It stops as soon as |l| exceeds what one signal is worth,
  log accuracy / (1 - accuracy), after k net steps: sigmoid(k d). Without
  noise k = 2. Noise always lowers it, though not monotonically: smaller steps
  overshoot less.

  Args:
    accuracy: of a signal, in (1/2, 1).
    epsilon: of the response; infinity is no noise.

  Raises:
    ValueError: if a number is out of range.
  """
  where = "correct_cascade_probability"
  checks.within(
      where, 0.5, 1.0, low_open=True, high_open=True, accuracy=accuracy
  )
  checks.within(where, 0.0, low_open=True, epsilon=epsilon)
  flip = 0.0 if math.isinf(epsilon) else 1 / (1 + math.exp(epsilon))
  right = accuracy * (1 - flip) + (1 - accuracy) * flip
  step = math.log(right / (1 - right))
  signal = math.log(accuracy / (1 - accuracy))
  net = math.floor(signal / step + 1e-9) + 1
  return 1 / (1 + math.exp(-net * step))
