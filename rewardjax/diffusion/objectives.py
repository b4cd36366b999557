"""Losses of denoisers and flows, one per sample: matching and preferences.

Networks enter as what they predicted. Errors are summed over the event, so
that a beta grows with its size; errors of image code that averages need a
beta larger by that size.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, links, masking
from rewardjax.diffusion.schedules import Samples
from rewardjax.types import Scalar

Errors = Float[Array, "*batch"]


def denoise_error(
    prediction: Samples, target: Samples
) -> Float[Array, " N"]:
  """||target - prediction||^2 over the event, per sample.

  With v of rectified flow and eps - x0 this is flow matching.

  Gradient: flows through `prediction`; `target` is held.

  Raises:
    ValueError: if shapes differ.

  References:
    Lipman et al., "Flow Matching for Generative Modeling", 2023.
  """
  checks.same_shape("denoise_error", prediction=prediction, target=target)
  gap = masking.as_accumulator(prediction) - jax.lax.stop_gradient(target)
  flat = gap.reshape(gap.shape[0], math.prod(gap.shape[1:]))
  return jnp.sum(jnp.square(flat), axis=-1)


def flow_dpo_loss(
    winner: Errors,
    loser: Errors,
    reference_winner: Errors,
    reference_loser: Errors,
    *,
    beta: Scalar | Errors,
) -> Errors:
  """-log sigmoid(-(beta / 2) ((e_w - ref_w) - (e_l - ref_l))), per pair.

  The winner is to be denoised better than the reference does it, by more
  than the loser is. All errors of a pair use one time and its own noise.

  Args:
    winner: `denoise_error` of the preferred sample, by the trained model.
    loser: of the other one.
    reference_winner: of the preferred one, by the frozen reference.
    reference_loser: of the other one.
    beta: nats per squared error; constant over time works better than the
      derived beta (1 - t)^2, say the authors. May be one per pair.

  Returns:
    Nats; log 2 where the model is the reference.

  Gradient: flows through `winner` and `loser`; the reference is held.

  Raises:
    ValueError: if shapes differ.

  References:
    Liu et al., "Improving Video Generation with Human Feedback", 2025
      (Flow-DPO).
  """
  where = "flow_dpo_loss"
  errors = dict(
      winner=winner,
      loser=loser,
      reference_winner=reference_winner,
      reference_loser=reference_loser,
  )
  checks.same_shape(where, **errors)
  checks.broadcasts_to(where, winner.shape, beta=beta)
  held = jax.lax.stop_gradient(reference_winner - reference_loser)
  return links.logistic(-0.5 * beta * (winner - loser - held))


def flow_rwr_loss(
    errors: Float[Array, " N"],
    rewards: Float[Array, " N"],
    *,
    temperature: Scalar,
) -> Float[Array, " N"]:
  """exp(r / temperature) times the error, weights normalised to mean 1.

  Equal rewards are flow matching. The weights are those of a batch: split,
  it gives another loss.

  Args:
    errors: `denoise_error` of samples.
    rewards: of the same samples.
    temperature: reward units per nat, positive.

  Gradient: flows through `errors`; `rewards` are held.

  Raises:
    ValueError: if shapes differ or `temperature` is not positive.

  References:
    Liu et al., "Improving Video Generation with Human Feedback", 2025
      (Flow-RWR).
  """
  where = "flow_rwr_loss"
  checks.same_shape(where, errors=errors, rewards=rewards)
  checks.within(where, 0.0, low_open=True, temperature=temperature)
  scaled = masking.as_accumulator(jax.lax.stop_gradient(rewards)) / temperature
  weights = jax.nn.softmax(scaled) * rewards.shape[0]
  return weights * masking.as_accumulator(errors)
