"""Several reward models for several tasks: one is asked, or all are fused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rewardjax.core import checks


class ExpertFusion(nn.Module):
  """One reward from the hidden states of C experts that stay as they are.

  States are fused, not scores: they hold what the experts' heads drop.

  Attributes:
    hidden: width of the layer that reads all states together.

  Gradient: to the fusing layers; none to `states`, so that neither experts
    nor what is below them are trained along.

  References:
    Quan, "DMoERM: Recipes of Mixture-of-Experts for Effective Reward
      Modeling", 2024, arXiv:2403.01197.
  """

  hidden: int

  @nn.compact
  def __call__(
      self, states: Float[Array, "*batch C H"]
  ) -> Float[Array, "*batch"]:
    """Rewards, float32; all 0 at first."""
    states = jax.lax.stop_gradient(states)
    flat = states.reshape(*states.shape[:-2], -1)
    hidden = nn.PReLU()(nn.Dense(self.hidden)(flat))
    out = nn.Dense(1, kernel_init=nn.initializers.zeros)
    return out(hidden)[..., 0]


def route(
    router_logits: Float[Array, "*batch E"], rewards: Float[Array, "*batch E"]
) -> tuple[Float[Array, "*batch"], Int[Array, "*batch"]]:
  """The reward of the expert that the router likes best, and which it is.

  Args:
    router_logits: read off the prompt alone: the answer must not choose its
      judge.
    rewards: of all experts. Those of different experts share no scale:
      compare answers to one prompt only.

  Gradient: to the reward of the chosen expert; none to the router.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("route", router_logits=router_logits, rewards=rewards)
  chosen = jnp.argmax(jax.lax.stop_gradient(router_logits), axis=-1)
  picked = jnp.take_along_axis(rewards, chosen[..., None], axis=-1)
  return picked[..., 0], chosen
