"""Models that learn to score steps while `experiments.rlvr` trains a policy.

They learn from observed outcomes alone, never from the trusted verifier. What
they read of the policy, its states, is data to them: no gradient of theirs
reaches it. Axes: B prompts, G samples, T tokens, K steps, D features.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from experiments import rlvr_policy
from experiments.rlvr_policy import Setup
from rewardjax.advantages import placement
from rewardjax.core import masking, reduction
from rewardjax.core.masking import Mean
from rewardjax.models import heads
from rewardjax.models.flow import VelocityNet
from rewardjax.recipes import two_level
from rewardjax.reward_models import decomposition, outcome, process
from rewardjax.reward_models import factors as reward_factors
from rewardjax.rewards import flow
from rewardjax.types import Reward, Rollouts


class Read(NamedTuple):
  """What scorers read of one batch; every leaf is data and leads with B.

  reward: as it is learned from, before any shaping.
  step_ids: the step of each token.
  step_mask: True for steps that have a token.
  states: of the policy, before each token and after the last one; None where
    no model reads them.
  """

  rollouts: Rollouts
  reward: Reward
  step_ids: Int[Array, "B G T"]
  step_mask: Bool[Array, "B G K"]
  states: Float[Array, "B G W D"] | None = None

  @property
  def solved(self) -> Bool[Array, "B G"]:
    """Samples that are known to be right."""
    return masking.fill_masked(*self.reward) > 0.5

  @property
  def told(self) -> Bool[Array, "B G"]:
    """Samples that have an outcome to learn from."""
    return self.reward.valid & jnp.any(self.rollouts.mask, axis=-1)


class Model(NamedTuple):
  """How one kind of model starts, and what it learns.

  init: (setup, key, parameters of the policy) -> parameters.
  loss: (setup, params, read, key) -> Mean, of any microbatch.
  """

  init: Callable
  loss: Callable
  reads_states: bool = True


def _head(setup: Setup) -> heads.ValueHead:
  return heads.ValueHead(hidden=setup.config.steps.hidden)


def _init_head(setup, key, params):
  del params
  size = len(setup.config.steps.factors) or setup.model.width
  return _head(setup).init(key, jnp.zeros((1, 2, size)))["params"]


def _seen(setup, read):
  """What a head sees of each token: the state that has read it, or factors.

  Factors see `obs`, the place and the token before, and `act`, the token and
  its log-prob.
  """
  factors = tuple(setup.config.steps.factors)
  if not factors:
    return read.states[..., 1:, :]
  tokens = jnp.where(read.rollouts.mask, read.rollouts.tokens, 0)
  tokens = tokens.astype(jnp.float32)
  places = jnp.broadcast_to(
      jnp.arange(tokens.shape[-1], dtype=jnp.float32), tokens.shape
  )
  before = jnp.pad(tokens, ((0, 0), (0, 0), (1, 0)))[..., :-1]
  obs = jnp.stack([places, before], axis=-1)
  act = jnp.stack([tokens, read.rollouts.log_probs], axis=-1)
  return reward_factors.apply_factors(factors, obs, act)


def logits(setup: Setup, params: PyTree, read: Read, key=None) -> Array:
  """What the head says of each token, `[B, G, T]`; 0 where masked."""
  del key
  seen, mask = _seen(setup, read), read.rollouts.mask
  return _head(setup).apply({"params": params}, seen, mask)


def _step_logits(setup, params, read):
  return placement.read_ends(
      logits(setup, params, read),
      read.step_ids,
      read.rollouts.mask,
      num_steps=read.step_mask.shape[-1],
  )


def _outcome_loss(setup, params, read, key) -> Mean:
  """OREAL: the outcome from the mean of all tokens' logits."""
  del key
  losses = outcome.outcome_loss(
      logits(setup, params, read), read.solved, read.rollouts.mask
  )
  return Mean.of(losses, read.told)


def _judge_loss(setup, params, read, key) -> Mean:
  """Every step is labelled with what came of it: one Monte Carlo sample."""
  del key
  found = _step_logits(setup, params, read)
  known = read.step_mask & read.told[..., None]
  labels = jnp.broadcast_to(read.solved[..., None], known.shape)
  losses = process.prm_loss(found, labels.astype(found.dtype), known)
  return Mean.of(losses, known)


def _returns_loss(setup, params, read, key) -> Mean:
  """LaRe: rewards of steps that sum to the outcome; perhaps of some steps."""
  found, size = _step_logits(setup, params, read), setup.config.steps.subset
  args = (found, masking.fill_masked(*read.reward))
  if not size:
    losses = decomposition.return_decomposition_loss(*args, read.step_mask)
    return Mean.of(losses, read.told)
  drawn = decomposition.draw_subset(key, read.step_mask, size=size)
  losses = decomposition.subset_decomposition_loss(*args, drawn, read.step_mask)
  return Mean.of(losses, read.told)


def _init_process(setup, key, params):
  """The policy itself: its implicit rewards start at 0."""
  del setup, key
  return {"policy": params["policy"]}


def _process_loss(setup, params, read, key) -> Mean:
  """OPRL: right samples are to have more implicit reward than wrong ones."""
  del key
  return two_level.oprl_reward_loss(
      rlvr_policy.score(setup, params, read.rollouts).log_probs,
      read.rollouts,
      read.reward,
      step_ids=read.step_ids,
      num_steps=read.step_mask.shape[-1],
      coefficient=setup.needs.coefficient,
  )


def _flow_net(setup: Setup) -> VelocityNet:
  return VelocityNet(setup.config.steps.hidden)


def _init_flow(setup, key, params):
  del params
  states = jnp.zeros((1, setup.model.width))
  time, layer = jnp.zeros(1), jnp.zeros(1, int)
  return _flow_net(setup).init(key, states, time, states, layer)["params"]


def _deviations(setup, params, read, key, time):
  """How far the flow's velocity is off for one noise, `[B, G, T]`."""
  # What padding has is never learned from, and may be anything.
  real = read.rollouts.mask[..., None]
  states = jax.tree.map(
      lambda x: jnp.where(real, x, 0.0).astype(jnp.float32),
      (read.states[..., 1:, :], read.states[..., :-1, :]),
  )
  noise = jax.random.normal(key, states[0].shape)
  noisy, target = flow.noisy_states(states[0], noise, time)
  velocities = _flow_net(setup).apply(
      {"params": params}, noisy, time, states[1], jnp.zeros(time.shape, int)
  )
  return flow.velocity_deviation(velocities, target)


def flow_scores(setup: Setup, params: PyTree, read: Read, key) -> Array:
  """How untypical each token's state is; the mean over draws of noise."""
  o = setup.config.steps
  time = jnp.full(read.rollouts.tokens.shape, o.time)
  each = lambda key: _deviations(setup, params, read, key, time)
  found = jax.lax.map(each, jax.random.split(key, o.draws))
  return flow.flow_score(found, jnp.full(o.draws, o.time))


def _flow_loss(setup, params, read, key) -> Mean:
  """RLFR: the flow learns states of right samples, at all times."""
  time_key, key = jax.random.split(key)
  time = jax.random.uniform(time_key, read.rollouts.tokens.shape)
  losses = _deviations(setup, params, read, key, time)
  right = (read.solved & read.told)[..., None]
  return reduction.token_mean(losses, read.rollouts.mask & right)


MODELS = {
    "process": Model(_init_process, _process_loss, reads_states=False),
    "outcome": Model(_init_head, _outcome_loss),
    "judge": Model(_init_head, _judge_loss),
    "returns": Model(_init_head, _returns_loss),
    "flow": Model(_init_flow, _flow_loss),
}
