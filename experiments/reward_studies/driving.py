"""What Gen-Drive claims, on paths past one moving disc.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.reward_studies.beds import driving as road
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diffusion import objectives, samplers, schedules
from rewardjax.models.denoisers import TimeMLP
from rewardjax.models.scenes import SceneEvaluator
from rewardjax.recipes import denoising
from rewardjax.reward_models import fitting, pairwise

_SCALE = 4.0
_PROCESS = samplers.Process(
    schedules.vp(schedules.cosine_alpha_bar), "x0", "ddim", 1.0
)
_METRICS = ("true reward", "collisions", "spread")


def _repeat(discs, count) -> road.Disc:
  """`[B]` to `[B, count]`."""
  wide = lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], count))
  return road.Disc(*map(wide, discs))


class _Generator(NamedTuple):
  """Paths `[B, G, T, 2]` for discs `[B, G]`, by ten denoising steps."""

  net: TimeMLP
  times: Float[Array, " K"]

  def model(self, params, discs):
    """For samplers: `(x [N, 16], t [N]) -> x0`."""
    context = discs.context.reshape(-1, 2)
    return lambda x, t: self.net.apply(params, x, t, context)

  def chain(self, key, params, discs):
    """A trajectory over B G samples, and the paths it ends in."""
    keys = split_named(key, "start", "steps")
    size = discs.start.size
    start = jax.random.normal(keys["start"], (size, 2 * road.NUM_STEPS))
    chain = samplers.rollout(
        keys["steps"], self.model(params, discs), start, self.times,
        process=_PROCESS,
    )
    shape = (*discs.start.shape, road.NUM_STEPS, 2)
    return chain, _SCALE * chain.x[-1].reshape(shape)

  def error(self, key, params, data):
    """`denoise_error` on recorded paths, for discs drawn anew."""
    keys = split_named(key, "t", "eps", "discs")
    x0 = data.reshape(-1, 2 * road.NUM_STEPS) / _SCALE
    t = jax.random.uniform(keys["t"], x0.shape[:1])
    eps = jax.random.normal(keys["eps"], x0.shape)
    noisy = schedules.add_noise(_PROCESS.schedule, x0, eps, t)
    discs = road.draw_discs(keys["discs"], x0.shape[:1])
    return objectives.denoise_error(self.model(params, discs)(noisy, t), x0)


def _fit(key, params, loss, data, *, num_steps, batch_size, learning_rate):
  return fitting.fit(
      key, params, loss, data, num_steps=num_steps, batch_size=batch_size,
      optimizer=optax.adam(learning_rate),
  ).params


def _learn_to_drive(key, generator, data, options):
  keys = split_named(key, "init", "fit")
  x, t = jnp.zeros((1, 2 * road.NUM_STEPS)), jnp.zeros(1)
  params = generator.net.init(keys["init"], x, t, jnp.zeros((1, 2)))
  loss = lambda params, batch, key: Mean.of(generator.error(key, params, batch))
  return _fit(keys["fit"], params, loss, data, **options)


def _learn_to_judge(key, generator, params, *, num_pairs, flips, width,
                    **options):
  """An evaluator from pairs of scenes of one context, labels partly flipped."""
  keys = split_named(key, "discs", "paths", "flips", "init", "fit")
  discs = _repeat(road.draw_discs(keys["discs"], (num_pairs,)), 2)
  _, paths = generator.chain(keys["paths"], params, discs)
  values = road.truth(paths, discs)
  flip = jax.random.bernoulli(keys["flips"], flips, (num_pairs,))
  won = (values[:, 0] > values[:, 1]) != flip
  net = SceneEvaluator(width)
  scene = lambda paths, discs: jnp.stack(
      [paths, jnp.broadcast_to(discs.path, paths.shape)], axis=-3
  )
  data = dict(
      scenes=scene(paths, discs), target=won.astype(jnp.float32)
  )

  def loss(found, batch, key):
    del key
    scores = net.apply(found, batch["scenes"])
    return Mean.of(pairwise.pairwise_logistic(
        scores[:, 0] - scores[:, 1], target=batch["target"]
    ))

  first = net.init(keys["init"], data["scenes"][:1])
  found = _fit(keys["fit"], first, loss, data, **options)
  return lambda paths, discs: net.apply(found, scene(paths, discs))


def _reinforce(key, generator, params, data, score, *, num_contexts,
               group_size, num_steps, learning_rate, anchor):
  """The generator after `num_steps` of `gen_drive` on one score."""
  optimizer = optax.adam(learning_rate)
  shape = (num_contexts, group_size)

  def step(carry, key):
    params, moments = carry
    keys = split_named(key, "discs", "chain", "rows", "error")
    discs = _repeat(road.draw_discs(keys["discs"], (num_contexts,)), group_size)
    chain, paths = generator.chain(keys["chain"], params, discs)
    fold = lambda x: x.T.reshape(*shape, -1)
    mask = jnp.broadcast_to(chain.mask, (*shape, chain.mask.shape[0]))
    rows = jax.random.randint(keys["rows"], (num_contexts * group_size,), 0,
                              data.shape[0])

    def loss(params):
      log_probs = samplers.step_log_probs(
          generator.model(params, discs), chain.x, generator.times,
          process=_PROCESS,
      )
      return denoising.gen_drive(
          fold(log_probs), fold(chain.log_probs), score(paths, discs),
          generator.error(keys["error"], params, data[rows]), mask,
          anchor=anchor,
      )[0]

    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    return (optax.apply_updates(params, updates), moments), None

  carry = params, optimizer.init(params)
  return jax.lax.scan(step, carry, jax.random.split(key, num_steps))[0][0]


def _measure(paths, discs):
  """Of paths `[B, G, T, 2]`: see `_METRICS`."""
  ends = paths - jnp.mean(paths, axis=1, keepdims=True)
  return jnp.stack([
      jnp.mean(road.truth(paths, discs)),
      jnp.mean(road.distance(paths, discs) < 0.6),
      jnp.sqrt(jnp.mean(jnp.square(ends))),
  ])


def _choose(paths, discs, scores):
  best = jnp.argmax(scores, axis=1)[:, None, None, None]
  chosen = jnp.take_along_axis(paths, best, axis=1)
  return _measure(chosen, _repeat(road.Disc(*(x[:, 0] for x in discs)), 1))


def gen_drive(
    *, seed, num_seeds, widths, denoising_steps, num_recorded, driving,
    judging, reinforcing, anchors, num_test,
) -> Study:
  """Choosing among paths, and training on them, by a learned score or a rule.

  The rule sees collisions and sudden changes but no progress; the score is
  learned from pairs by a judge who is sometimes wrong. The first of two
  `anchors` is that of the criterion.
  """
  generator = _Generator(
      TimeMLP(tuple(widths)), schedules.time_grid(denoising_steps)
  )

  def run(key):
    keys = split_named(
        key, "data", "drive", "judge", "learn", "discs", "test"
    )
    data = road.recorded(keys["data"], num_recorded)
    base = _learn_to_drive(keys["drive"], generator, data, driving)
    learned = _learn_to_judge(keys["judge"], generator, base, **judging)
    score = lambda by_rule, paths, discs: jnp.where(
        by_rule, road.rule(paths, discs), learned(paths, discs)
    )
    tune = lambda by_rule, anchor: _reinforce(
        keys["learn"], generator, base, data,
        functools.partial(score, by_rule), anchor=anchor, **reinforcing,
    )
    tuned = jax.vmap(tune)(
        jnp.array([False, True, False]),
        jnp.array([anchors[0], anchors[0], anchors[1]]),
    )
    every = jax.tree.map(
        lambda x, y: jnp.concatenate([x[None], y]), base, tuned
    )
    discs = _repeat(road.draw_discs(keys["discs"], (num_test,)), 16)
    paths = jax.vmap(
        lambda params: generator.chain(keys["test"], params, discs)[1]
    )(every)
    plain = jax.vmap(lambda x: _measure(x, discs))(paths)
    names = ("learned", "rule", f"learned, anchor {anchors[1]:g}")
    return {
        "sample": plain[0],
        "best of 16, learned": _choose(
            paths[0], discs, learned(paths[0], discs)
        ),
        "best of 16, rule": _choose(
            paths[0], discs, road.rule(paths[0], discs)
        ),
        **{f"tuned, {k}": x for k, x in zip(names, plain[1:])},
    }

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  reward = {name: np.mean(x[:, 0]) for name, x in found.items()}
  hits = {name: np.mean(x[:, 1]) for name, x in found.items()}
  chosen = reward["best of 16, learned"]
  passed = (
      chosen > reward["sample"]
      and chosen >= reward["best of 16, rule"]
      and reward["tuned, learned"] > reward["sample"]
      and hits["tuned, learned"] <= hits["sample"]
  )
  return Study(
      "Gen-Drive: paths chosen and trained by a learned evaluator",
      "The best of 16 by the learned score is truly better than a sample and "
      "not worse than the best by a rule that omits progress; training on "
      "the score raises the mean without more collisions",
      bool(passed),
      [
          mean_row(name, metric, x[:, i])
          for name, x in found.items()
          for i, metric in enumerate(_METRICS)
      ],
      {},
      f"{NOTE} Spread is the standard deviation of places within a context; "
      "that of a single choice is 0.",
  )
