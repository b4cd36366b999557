"""What the paper on reward hacking in text-to-image RL claims.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies.beds import flow
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import cross_rewards
from rewardjax.models.heads import VectorHead
from rewardjax.objectives import policy_gradient
from rewardjax.reward_models import fitting
from rewardjax.rewards.binary_token import binary_token_reward
from rewardjax.shaping import aggregation

# Weights of proxy A, proxy B and the detector of artefacts.
_ARMS = {
    "A": (1.0, 0.0, 0.0),
    "A + B": (1.0, 1.0, 0.0),
    "A + artefacts": (1.0, 0.0, 1.0),
    "A + B + artefacts": (1.0, 1.0, 1.0),
}
_MEASURES = ("A", "B", "artefact reward", "true reward", "artefact level")


def _vectors(key, *, num_prompts, num_samples, noise):
  """Best of n, where artefacts are one coordinate of four.

  Returns the true reward and the level of artefacts of each arm's choice.
  """
  keys = split_named(key, "x", "noise")
  x = jax.random.normal(keys["x"], (4, num_prompts, num_samples))
  beauty, likeness, artefact, style = x
  errors = noise * jax.random.normal(keys["noise"], x.shape)
  truth = beauty + likeness - artefact
  logit = artefact + errors[2]
  rewards = jnp.stack([
      beauty + artefact + errors[0],  # takes artefacts for detail
      likeness + style + artefact + errors[1],
      binary_token_reward(-logit, logit),
  ], axis=-1)

  def choose(weights):
    best = jnp.argmax(aggregation.zscore_sum(rewards, weights=weights), -1)
    read = lambda y: jnp.mean(jnp.take_along_axis(y, best[:, None], -1))
    return read(truth), read(artefact)

  return jax.vmap(choose)(jnp.array(list(_ARMS.values())))


def _stroke(key, pictures):
  """One row or column filled with ink."""
  keys = split_named(key, "place", "down")
  shape = pictures.shape[:-2]
  line = jax.nn.one_hot(jax.random.randint(keys["place"], shape, 0, 8), 8)
  down = jax.random.bernoulli(keys["down"], 0.5, shape)[..., None, None]
  both = jnp.where(down, line[..., None, :], line[..., :, None])
  return jnp.maximum(pictures, jnp.broadcast_to(both, pictures.shape))


def _flat(pictures):
  return pictures.reshape(*pictures.shape[:-2], 64)


def _learn_rewards(key, *, num_pictures, width, num_steps, learning_rate):
  """Proxy A knows digits, the detector strokes; both are learned."""
  keys = split_named(key, "labels", "clean", "stroke", "init", "fit")
  labels = jax.random.randint(keys["labels"], (num_pictures,), 0, 10)
  clean = flow.draw_digits(keys["clean"], labels, flips=0.02)
  spoiled = _stroke(keys["stroke"], clean)
  nets = VectorHead(10), VectorHead(2, (width,))
  data = dict(clean=_flat(clean), spoiled=_flat(spoiled), labels=labels)

  def loss(params, batch, key):
    del key
    names = nets[0].apply(params[0], batch["clean"])
    wanted = optax.softmax_cross_entropy_with_integer_labels
    answers = [nets[1].apply(params[1], batch[k]) for k in ("clean", "spoiled")]
    said = [jax.nn.log_softmax(x)[:, i] for i, x in enumerate(answers)]
    return Mean.of(wanted(names, batch["labels"]) - said[0] - said[1])

  first = [net.init(keys["init"], data["clean"][:1]) for net in nets]
  params = fitting.fit(
      keys["fit"], first, loss, data, optimizer=optax.adam(learning_rate),
      num_steps=num_steps, batch_size=100,
  ).params
  return lambda x: (nets[0].apply(params[0], x), nets[1].apply(params[1], x))


def _rewards(read, labels, pixels):
  """Of pictures [10, G, 64] asked to be digits [10], see `_MEASURES`."""
  names, (no, yes) = (lambda a, b: (a, jnp.moveaxis(b, -1, 0)))(*read(pixels))
  place = jnp.broadcast_to(labels[:, None, None], (*names.shape[:-1], 1))
  named = jnp.take_along_axis(names, place, -1)[..., 0]
  wanted = _flat(flow.digits())[labels][:, None]
  ink = jnp.mean(pixels * jnp.ones_like(wanted), -1)
  wrong = jnp.mean(jnp.abs(pixels - wanted), -1)
  extra = jnp.sum(pixels * (1 - wanted), -1) / 8
  return jnp.stack(
      [named, ink, binary_token_reward(no, yes), -wrong, extra], -1
  )


def _draw(key, logits, count):
  shape = (count, *logits.shape)
  draws = jax.random.bernoulli(key, jax.nn.sigmoid(logits)[None], shape)
  return jnp.swapaxes(draws, 0, 1).astype(jnp.float32)


def _pictures(key, *, rewards, spoiled, group_size, num_steps, learning_rate,
              num_test):
  """Policies that draw digits pixel by pixel, trained on each arm's rewards.

  Returns measures `[arms + 1, 5]`, the last of the first policy, and the
  matrix of changes.
  """
  keys = split_named(key, "rewards", "data", "strokes", "learn", "test")
  read = _learn_rewards(keys["rewards"], **rewards)
  labels = jnp.arange(10)
  clean = jnp.broadcast_to(flow.digits()[:, None], (10, 100, 8, 8))
  some = jnp.where(
      (jnp.arange(100) < spoiled * 100)[None, :, None, None],
      _stroke(keys["strokes"], clean), clean,
  )
  start = jax.scipy.special.logit(
      jnp.clip(jnp.mean(_flat(some), 1), 0.02, 0.98)
  )

  def learn(weights):
    def step(logits, key):
      pixels = _draw(key, logits, group_size)
      advantages = aggregation.zscore_sum(
          _rewards(read, labels, pixels)[..., :3], weights=weights
      )

      def loss(logits):
        signed = jnp.where(pixels > 0, logits[:, None], -logits[:, None])
        return jnp.sum(jnp.mean(policy_gradient.score_surrogate(
            jnp.sum(jax.nn.log_sigmoid(signed), -1), advantages
        ), -1))

      return logits - learning_rate * jax.grad(loss)(logits), None

    path = jax.random.split(keys["learn"], num_steps)
    return jax.lax.scan(step, start, path)[0]

  trained = jax.vmap(learn)(jnp.array(list(_ARMS.values())))
  every = jnp.concatenate([trained, start[None]])
  test = jax.vmap(lambda logits: _rewards(
      read, labels, _draw(keys["test"], logits, num_test)
  ).reshape(-1, len(_MEASURES)))(every)
  changes = cross_rewards.cross_reward_matrix(test[:-1], test[-1])
  return jnp.mean(test, 1), changes


def _hacking_rows(changes):
  own = jnp.array(list(_ARMS.values())) > 0
  own = jnp.pad(own, ((0, 0), (0, 2)))
  found = jax.vmap(
      lambda x: cross_rewards.hacked(x, own, truth=3)
  )(jnp.asarray(changes))
  rows = [
      mean_row(f"pictures, {arm}", f"change of {name}, stds", changes[:, i, j])
      for i, arm in enumerate(_ARMS)
      for j, name in enumerate(_MEASURES[:4])
  ]
  return rows + [
      mean_row(f"pictures, {arm}", "hacked", np.asarray(found[:, i], float))
      for i, arm in enumerate(_ARMS)
  ]


def _holds(truth, level) -> bool:
  """Of arms `[4]`: the detector halves artefacts, a second proxy does not."""
  proxy, both, one, all_three = level
  better = truth[2] > truth[0] and truth[3] > truth[1]
  halved = one <= proxy / 2 and all_three <= both / 2
  return bool(better and halved and both >= 0.9 * proxy)


def t2i_reward_hacking(*, seed, num_seeds, vectors, pictures) -> Study:
  """Two proxies that like artefacts, alone, summed, and with a detector.

  `vectors`: the best of many samples. `pictures`: policies over 8 x 8 pixels
  whose first samples carry strokes in a share of cases.
  """

  def run(key):
    one, two = jax.random.split(key)
    return _vectors(one, **vectors), _pictures(two, **pictures)

  (truth, level), (measured, changes) = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  last = {name: measured[..., i] for i, name in enumerate(_MEASURES)}
  passed = _holds(np.mean(truth, 0), np.mean(level, 0)) and _holds(
      *(np.mean(last[k], 0)[:4] for k in ("true reward", "artefact level"))
  )
  rows = [
      mean_row(f"vectors, {arm}", metric, x[:, i])
      for metric, x in (("true reward", truth), ("artefact level", level))
      for i, arm in enumerate(_ARMS)
  ]
  rows += [
      mean_row(f"pictures, {arm}", metric, last[metric][:, i])
      for metric in ("true reward", "artefact level")
      for i, arm in enumerate([*_ARMS, "before"])
  ]
  return Study(
      "Reward hacking in text-to-image RL: a detector of artefacts",
      "Choosing vectors and training on pictures: the detector halves "
      "artefacts and raises the true reward, with one proxy and with two; a "
      "second proxy alone leaves at least 0.9 of them",
      passed,
      [*rows, *_hacking_rows(changes)],
      {},
      f"{NOTE} The artefact level of pictures is ink where the digit has "
      "none, in lines of eight pixels; of vectors it is in stds.",
  )
