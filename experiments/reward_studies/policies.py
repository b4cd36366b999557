"""What POLAR claims: telling policies apart teaches to compare answers.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.models.heads import VectorHead
from rewardjax.reward_models import discriminators, fitting, pairwise

# Starts from the pre-trained reward, and sees the reference.
_ARMS = {
    "pre-trained, fine-tuned": (True, True),
    "from scratch": (False, True),
    "without reference": (False, False),
}


def _bags(key, means, size):
  """`size` actions around each mean, `[..., size, D]`."""
  wide = jnp.broadcast_to(
      means[..., None, :], (*means.shape[:-1], size, means.shape[-1])
  )
  return wide + jax.random.normal(key, wide.shape)


def _directions(key, shape, *, dim, judged):
  """Means of one length in the judged coordinates, and one in the others.

  So nothing but a reference can say which of two is wanted.
  """
  x = jax.random.normal(key, (*shape, dim))
  parts = x[..., :judged], x[..., judged:]
  unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
  return jnp.concatenate(
      [jnp.sqrt(float(x.shape[-1])) * unit(x) for x in parts], axis=-1
  )


def _triples(key, count, *, dim, size, judged, num_candidates):
  """The best of several answers as reference, two of the rest as a pair.

  People go by the distance to what they want, in `judged` of the coordinates.
  """
  keys = split_named(key, "wanted", "means", "bags", "order")
  draw = functools.partial(_directions, dim=dim, judged=judged)
  wanted = draw(keys["wanted"], (count, 1))
  means = draw(keys["means"], (count, num_candidates))
  bags = _bags(keys["bags"], means, size)
  off = jnp.linalg.norm((means - wanted)[..., :judged], axis=-1)
  order = jnp.argsort(off, axis=-1)
  rest = jax.vmap(lambda key: jnp.sort(
      1 + jax.random.permutation(key, num_candidates - 1)[:2]
  ))(jax.random.split(keys["order"], count))
  pick = jnp.concatenate([jnp.zeros((count, 1), int), rest], axis=1)
  place = jnp.take_along_axis(order, pick, axis=1)
  chosen = jnp.take_along_axis(bags, place[..., None, None], axis=1)
  return dict(zip(("reference", "chosen", "rejected"), jnp.moveaxis(
      chosen, 1, 0
  )))


def _pretraining(key, count, *, dim, size, judged, num_policies):
  """Two samples of one policy, one of another."""
  keys = split_named(key, "means", "pairs", "reference", "chosen", "rejected")
  means = _directions(keys["means"], (num_policies,), dim=dim, judged=judged)
  pairs = discriminators.policy_pairs(
      keys["pairs"], num_policies=num_policies, num_pairs=count
  )
  return dict(
      reference=_bags(keys["reference"], means[pairs.same], size),
      chosen=_bags(keys["chosen"], means[pairs.same], size),
      rejected=_bags(keys["rejected"], means[pairs.other], size),
  )


def polar(
    *, seed, num_seeds, bed, num_policies, width, pretrain, finetune, sizes,
    num_test, chance,
) -> Study:
  """Bags of actions; rewards that see a reference bag or do not.

  `sizes` are numbers of labelled triples; `chance` is how far from a half
  the accuracy without a reference may lie.
  """
  net = VectorHead(1, (width, width))
  like = {k: bed[k] for k in ("dim", "size", "judged")}

  def score(params, reference, candidate, sees):
    a, b = (jnp.mean(x, -2) for x in (reference, candidate))
    a = jnp.where(sees, a, 0.0)
    # The product lets the first layer compare.
    return net.apply(params, jnp.concatenate([a, b, a * b], -1))[..., 0]

  def margin(params, batch, sees):
    at = lambda name: score(params, batch["reference"], batch[name], sees)
    return at("chosen") - at("rejected")

  def fit(key, params, data, sees, *, num_steps, batch_size, learning_rate,
          decay=0.0):
    loss = lambda params, batch, key: Mean.of(
        pairwise.pairwise_logistic(margin(params, batch, sees))
    )
    return fitting.fit(
        key, params, loss, data, num_steps=num_steps, batch_size=batch_size,
        optimizer=optax.adamw(learning_rate, weight_decay=decay),
    ).params

  def run(key):
    keys = split_named(
        key, "init", "policies", "pretrain", "train", "finetune", "test"
    )
    first = net.init(keys["init"], jnp.zeros((1, 3 * bed["dim"])))
    rows = pretrain["num_steps"] * pretrain["batch_size"]
    data = _pretraining(
        keys["policies"], rows, num_policies=num_policies, **like
    )
    known = fit(keys["pretrain"], first, data, True, **pretrain)
    train = _triples(keys["train"], max(sizes), **bed)
    test = _triples(keys["test"], num_test, **bed)
    accuracy = lambda params, sees: jnp.mean(margin(params, test, sees) > 0)

    def arm(size, starts, sees):
      start = jax.tree.map(lambda x, y: jnp.where(starts, x, y), known, first)
      # The first `size` triples, again and again: all arms share one shape.
      rows = jnp.arange(max(sizes)) % size
      params = fit(
          keys["finetune"], start, fitting.take(train, rows), sees, **finetune
      )
      return accuracy(params, sees)

    starts, sees = (jnp.array(x) for x in zip(*_ARMS.values()))
    over_arms = jax.vmap(arm, (None, 0, 0))
    tuned = jax.vmap(over_arms, (0, None, None))(
        jnp.array(sizes), starts, sees
    )
    return accuracy(known, True), tuned

  before, tuned = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  both, scratch, blind = np.moveaxis(np.mean(tuned, 0), -1, 0)
  passed = (both > scratch).all() and (np.abs(blind - 0.5) <= chance).all()
  rows = [mean_row("pre-trained only", "accuracy", before)]
  rows += [
      mean_row(f"{name}, {size} triples", "accuracy", tuned[:, i, j])
      for i, size in enumerate(sizes)
      for j, name in enumerate(_ARMS)
  ]
  return Study(
      "POLAR: telling policies apart, before preferences",
      "Pre-trained and fine-tuned is more accurate than from scratch with "
      f"{' and '.join(map(str, sizes))} labelled triples; without a "
      f"reference the accuracy is within {chance:g} of a half",
      bool(passed),
      rows,
      {},
      f"{NOTE} People compare in {bed['judged']} of {bed['dim']} coordinates.",
  )
