"""Token rewards from a flow over the states of a tiny transformer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from experiments import on_policy
from experiments.noise_studies import models, tables
from experiments.studies import Study, mean_row
from rewardjax.core import reduction
from rewardjax.core.masking import Mean
from rewardjax.data import traces
from rewardjax.diagnostics import agreement
from rewardjax.models import incremental, transformer
from rewardjax.models.flow import VelocityNet
from rewardjax.models.transformer import Transformer
from rewardjax.policies import decoding
from rewardjax.recipes import flow as recipes
from rewardjax.rewards import flow
from rewardjax.types import Reward, Rollouts


class Observer(NamedTuple):
  """A frozen transformer, whose states a flow learns to make.

  time: at which states are scored; draws: of noise, averaged.
  """

  model: Transformer
  params: PyTree
  net: VelocityNet
  time: float
  draws: int

  def states(self, rollouts: Rollouts):
    """The state that has read each token, and the state before it."""
    batch, group, length = rollouts.tokens.shape
    spread = lambda x: jnp.repeat(x, group, axis=0)
    tokens, mask = (
        jnp.concatenate([spread(a), b.reshape(-1, length)], axis=1)
        for a, b in (
            (rollouts.prompts, rollouts.tokens),
            (rollouts.prompt_mask, rollouts.mask),
        )
    )
    found = transformer.features(self.model, self.params, tokens, mask)
    before = flow.neighbor_condition(found, mask, kind="before")
    cut = lambda x: x[:, -length:].reshape(batch, group, length, -1)
    return cut(found), cut(before)

  def deviations(self, key, params, rollouts, time):
    """How far the flow's velocity is off, `[B, G, T]`, for one noise."""
    hidden, before = self.states(rollouts)
    noise = jax.random.normal(key, hidden.shape)
    noisy, target = flow.noisy_states(hidden, noise, time)
    layer = jnp.zeros(time.shape, int)
    velocity = self.net.apply(params, noisy, time, before, layer)
    return flow.velocity_deviation(velocity, target)

  def logits(self, params, rollouts):
    """Of a policy of the same shape."""
    found = transformer.completion_features(self.model, params, *rollouts[:4])
    return transformer.logits(self.model, params, found)

  def loss(self, key, params, rollouts, counted) -> Mean:
    """Of the flow, over times and noises."""
    time_key, key = jax.random.split(key)
    time = jax.random.uniform(time_key, rollouts.tokens.shape)
    found = self.deviations(key, params, rollouts, time)
    return reduction.token_mean(found, rollouts.mask & counted[..., None])

  def scores(self, key, params, rollouts) -> Float[Array, "B G T"]:
    """How untypical each token's state is."""
    time = jnp.full(rollouts.tokens.shape, self.time)
    each = lambda key: self.deviations(key, params, rollouts, time)
    found = jax.vmap(each)(jax.random.split(key, self.draws))
    return flow.flow_score(found, jnp.full(self.draws, self.time))


class Problem(NamedTuple):
  """Numbers, and the running results of a program, a token each."""

  program: traces.Program
  length: int

  def draw(self, key, num):
    """Prompts and traces; results are tokens like the numbers."""
    inputs = jax.random.randint(key, (num, self.length), 0, self.program.base)
    follow = lambda row: traces.run(self.program, row).states[:, 0]
    said = jax.vmap(follow)(inputs)
    real = lambda x: models.Text(x, jnp.ones(x.shape, bool))
    return real(inputs), real(said)


def _as_group(prompts, answers):
  return models.given(prompts, models.Text(*(x[:, None] for x in answers)))


def _fit_flow(key, observer, problem, *, batch_size, **steps):
  """A flow on right traces."""
  init_key, key = jax.random.split(key)
  state = jnp.zeros((1, observer.model.width))
  params = observer.net.init(
      init_key, state, jnp.zeros(1), state, jnp.zeros(1, int)
  )

  def collect(key, params, step):
    draw_key, key = jax.random.split(key)
    return key, _as_group(*problem.draw(draw_key, batch_size))

  def loss(params, batch):
    key, rollouts = batch
    counted = jnp.ones(rollouts.tokens.shape[:2], bool)
    return observer.loss(key, params, rollouts, counted)

  return on_policy.train(key, params, collect, loss, **steps)[0]


def _separation(key, observer, params, problem, *, num, intensity):
  """AUC of the scores of replaced tokens against all others."""
  draw_key, hit_key, key = jax.random.split(key, 3)
  prompts, said = problem.draw(draw_key, num)
  noisy, _ = traces.replace_symbols(
      hit_key, said.tokens, base=problem.program.base, intensity=intensity
  )
  rollouts = _as_group(prompts, said._replace(tokens=noisy))
  scores = observer.scores(key, params, rollouts)
  wrong = rollouts.tokens[:, 0] != said.tokens
  return agreement.auroc(scores.ravel(), wrong.ravel())


def _reinforce(
    key, observer, flow_params, problem, coefficient, *, batch_size,
    group_size, threshold, **steps,
):
  """Both are trained: the policy, and the flow on its right answers."""
  decoder = incremental.decoder(observer.model)

  def collect(key, params, step):
    draw_key, sample_key, score_key, key = jax.random.split(key, 4)
    prompts, said = problem.draw(draw_key, batch_size)
    rollouts = decoding.sample(
        sample_key, decoder, params["policy"], *prompts,
        num_samples=group_size, max_new_tokens=problem.length, stop_tokens=(),
    )
    right = rollouts.tokens[..., -1] == said.tokens[:, None, -1]
    scores = observer.scores(score_key, params["flow"], rollouts)
    return key, rollouts, right, scores

  def loss(params, batch):
    key, rollouts, right, scores = batch
    reward = Reward(right.astype(float), jnp.ones(right.shape, bool))
    log_probs = models.score(observer.logits, params["policy"], rollouts)
    policy = recipes.rlfr(
        log_probs, rollouts, reward, scores,
        coefficient=coefficient, threshold=threshold,
    )[0]
    fitted = observer.loss(key, params["flow"], rollouts, right)
    total = policy.total + policy.weight * fitted.value
    return Mean(total, policy.weight)

  start = dict(policy=observer.params, flow=flow_params)
  measure = lambda params, batch: jnp.mean(batch[2])
  return on_policy.train(key, start, collect, loss, measure, **steps)[1]


def _observer(key, problem, model, net, imitation, **scored):
  """A policy that has seen some right traces, to be observed and trained."""
  init_key, key = jax.random.split(key)
  row = jnp.zeros((1, 2), int)
  params = model.init(init_key, row, row == 0)["params"]
  observer = Observer(model, params, net, **scored)
  steps = dict(imitation)
  size = steps.pop("batch_size")
  draw = lambda key: problem.draw(key, size)
  kept = models.imitate(key, observer.logits, params, draw, **steps)
  return observer._replace(params=jax.tree.map(lambda x: x[-1], kept))


def rlfr(
    *, seed, num_seeds, base, length, model, imitation, net, fit, scored,
    corrupted, learning, coefficient, window, level, within, least,
) -> Study:
  """GRPO with and without the flow's token rewards, on right last results."""
  problem = Problem(traces.affine(base, length), length)
  model = Transformer(base, **model)
  net = VelocityNet(**net)

  def run(key, coefficient):
    keys = jax.random.split(key, 4)
    observer = _observer(keys[0], problem, model, net, imitation, **scored)
    fitted = _fit_flow(keys[1], observer, problem, **fit)
    apart = _separation(keys[2], observer, fitted, problem, **corrupted)
    line = _reinforce(
        keys[3], observer, fitted, problem, coefficient, **learning
    )
    return line, apart

  arms = {"GRPO": jnp.array(0.0), "GRPO and flow": jnp.array(coefficient)}
  found = tables.stacked(run, arms, seed=seed, num_seeds=num_seeds)
  lines = {n: tables.trailing(x[0], window) for n, x in found.items()}
  apart = found["GRPO"][1]
  steps = {n: tables.first_above(x, level) for n, x in lines.items()}
  rows = [mean_row("flow", "AUC of corrupted tokens", apart)]
  rows += [mean_row(n, f"steps to {level:g} accuracy", x)
           for n, x in steps.items()]
  rows += [mean_row(n, "accuracy at the start", x[:, 0])
           for n, x in lines.items()]
  rows += tables.last_rows(lines, "accuracy at the end")
  last = tables.last_means(lines)
  faster = np.mean(steps["GRPO and flow"]) < np.mean(steps["GRPO"])
  kept_up = last["GRPO and flow"] >= last["GRPO"] - within
  return Study(
      "RLFR: token rewards from a flow over hidden states",
      f"AUC of corrupted against other tokens above {least:g}; with the flow "
      f"final accuracy at most {within:g} lower, and {level:g} reached in "
      "fewer steps",
      bool(np.mean(apart) > least and kept_up and faster),
      rows,
      {"accuracy": tables.curves(lines, "accuracy")},
      f"Accuracies are those of the samples, means over {window} steps; a run "
      "that never gets there counts with all its steps. Both arms centre "
      "rewards without dividing by their std. Means over seeds with 95 % "
      "Student-t intervals.",
  )
