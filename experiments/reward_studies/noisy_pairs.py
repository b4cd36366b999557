"""What the papers on wrong preference labels claim.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import NOTE, Curves, Study, mean_row, seed_keys
from rewardjax.core.masking import safe_divide
from rewardjax.core.random import split_named
from rewardjax.noise import selection
from rewardjax.noise.preferences import symmetric
from rewardjax.recipes import noisy_pairs
from rewardjax.reward_models import ensembles, fitting
from rewardjax.reward_models.pairwise import pairwise_logistic


def rows_of(pairs: gold.Pairs):
  """Chosen and rejected, for `models.pair_loss`."""
  chosen, rejected = pairs.oriented()
  return {"chosen": chosen, "rejected": rejected}


def held_out(key, truth, num_pairs, **options):
  """Pairs whose labels are right, and a reader of accuracies on them."""
  pairs = gold.compare(key, truth, num_pairs=num_pairs, **options)

  def accuracy(score):
    return gold.accuracy(score(pairs.first) - score(pairs.second), pairs.gap)

  return accuracy


PLAIN, SELF, PEER, CURRICULUM = range(4)


def _selected(diffs, keep):
  """Each of two models learns from what it finds easy itself."""
  losses = pairwise_logistic(diffs)
  weights = selection.small_loss_weights(losses, keep=keep)
  return safe_divide(jnp.sum(weights * losses), jnp.sum(weights[0]))


def _two_losses(arm, diffs, keep):
  peer = lambda keep: noisy_pairs.crm(*diffs, keep=keep)[0].value
  return jax.lax.switch(
      jnp.minimum(arm, PEER),
      [lambda: peer(1.0), lambda: _selected(diffs, keep), lambda: peer(keep)],
  )


def train_two(
    key, rows, arm, rate, *, model, num_epochs, batch_size, warmup,
    learning_rate,
):
  """Two models over epochs, each pair of batches selected as `arm` says."""
  keys = split_named(key, "init", "order")
  optimizer = optax.adamw(learning_rate)
  params = jax.vmap(model.init)(jax.random.split(keys["init"]))
  num_rows = rows["chosen"].shape[0]
  per_epoch = num_rows // batch_size
  read = lambda p, rows: jax.vmap(
      lambda q: model.apply(q, rows["chosen"]) - model.apply(
          q, rows["rejected"]
      )
  )(p)

  def step(state, batch):
    params, opt_state, count = state
    keep = selection.keep_schedule(
        count, rate=rate, warmup=warmup * per_epoch
    )
    total = lambda p: _two_losses(
        arm, read(p, fitting.take(rows, batch)), keep
    )
    grads = jax.grad(total)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state, count + 1), None

  def epoch(state, key):
    shuffled = jax.random.permutation(key, num_rows)
    easy = jnp.argsort(-jnp.mean(read(state[0], rows), axis=0))
    order = jnp.where(arm == CURRICULUM, easy, shuffled)
    batches = order[: per_epoch * batch_size].reshape(per_epoch, batch_size)
    return jax.lax.scan(step, state, batches)[0], None

  start = (params, optimizer.init(params), jnp.zeros(()))
  orders = jax.random.split(keys["order"], num_epochs)
  return jax.lax.scan(epoch, start, orders)[0][0]


def crm(
    *, seed, num_seeds, dim, num_pairs, num_test, width, rates, gain,
    **training,
) -> Study:
  """Two models that select pairs for each other, labels wrong at `rates`.

  `gain` is what it must add to plain Bradley-Terry at the last rate.
  """
  model = models.scorer(dim, (width,))
  arms = jnp.arange(4)
  levels = jnp.asarray(rates)

  def train(key):
    keys = split_named(key, "truth", "pairs", "models")
    truth = gold.gold_model(keys["truth"], dim=dim)

    def one(rate):
      pairs = gold.compare(
          keys["pairs"], truth, num_pairs=num_pairs, rates=symmetric(rate)
      )
      fit = lambda arm: train_two(
          keys["models"], rows_of(pairs), arm, rate, model=model, **training
      )
      return jax.vmap(fit)(arms)

    return truth, jax.vmap(one)(levels)

  def read(key, learned):
    truth, params = learned
    accuracy = held_out(jax.random.fold_in(key, 1), truth, num_test)
    both = lambda p, x: jnp.mean(
        jax.vmap(model.apply, (0, None))(p, x), axis=0
    )
    first = lambda p, x: model.apply(jax.tree.map(lambda y: y[0], p), x)
    of = lambda rule: jax.vmap(
        jax.vmap(lambda p: accuracy(functools.partial(rule, p)))
    )(params)
    return of(first), of(both)

  first, both = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  found = {
      "Bradley-Terry": first[..., PLAIN],
      "two, averaged": both[..., PLAIN],
      "self-selection": both[..., SELF],
      "peer selection": both[..., PEER],
      "CRM": both[..., CURRICULUM],
  }
  last = {name: x[:, -1] for name, x in found.items()}
  mean = {name: np.mean(x) for name, x in last.items()}
  passed = (
      np.min(last["CRM"] - last["Bradley-Terry"]) >= gain
      and mean["CRM"] >= mean["self-selection"]
      and mean["CRM"] > mean["two, averaged"]
  )
  return Study(
      "CRM: two reward models that select pairs for each other",
      f"With {rates[-1]:.0%} wrong labels CRM is at least {gain:g} above "
      "Bradley-Terry in every run, on average not below self-selection and "
      "above two averaged models",
      bool(passed),
      [
          mean_row(name, f"accuracy, {rate:.0%} wrong", x[:, i])
          for name, x in found.items()
          for i, rate in enumerate(rates)
      ],
      {},
      f"{NOTE} CRM is peer selection with batches in the order of the mean "
      "margin; the noise rate is known to all selections.",
  )


_TREATMENTS = {
    "Bradley-Terry": {},
    "margin": dict(margin_scale=1.0),
    "drop": dict(drop=0.2),
    "flip": dict(flip=0.2),
    "flip and margin": dict(flip=0.2, margin_scale=1.0),
}


def treatments(strength, *, smoothing=0.1):
  """Target, margin and weight of every pair under each treatment, `[A, N]`."""
  plain = selection.quantile_relabel(strength)
  treated = {
      name: selection.quantile_relabel(strength, **shares)
      for name, shares in _TREATMENTS.items()
  }
  treated["smoothing"] = plain._replace(target=plain.target - smoothing)
  treated["soft"] = plain._replace(target=jax.nn.sigmoid(strength))
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *treated.values())
  return tuple(treated), stacked._asdict()


def strength_of(key, model, rows, *, num_members, brief_steps, **training):
  """Mean margin of members that saw the noisy pairs only briefly."""
  training = training | {"num_steps": brief_steps}
  params = ensembles.fit(
      key,
      model.init,
      lambda key, start: models.fit_scorer(
          key, model, models.pair_loss(model.apply), rows, start=start,
          **training,
      ),
      num_members=num_members,
  )
  read = lambda x: ensembles.predict(model.apply, params, x)
  margins = read(rows["chosen"]) - read(rows["rejected"])
  return ensembles.preference_strength(margins).mean


def secrets_rm(
    *, seed, num_seeds, dim, num_pairs, num_test, width, flip_rate, gain,
    num_members, brief_steps, **training,
) -> Study:
  """How strength finds wrong labels, and what treating them is worth.

  `gain` is what turning and softening must add to plain Bradley-Terry.
  """
  model = models.scorer(dim, (width,))
  loss = models.pair_loss(
      model.apply, target="target", margin="margin", weight="weight"
  )

  def train(key):
    keys = split_named(key, "truth", "pairs", "members", "final")
    truth = gold.gold_model(keys["truth"], dim=dim)
    pairs = gold.compare(
        keys["pairs"], truth, num_pairs=num_pairs, rates=symmetric(flip_rate)
    )
    rows = rows_of(pairs)
    strength = strength_of(
        keys["members"], model, rows, num_members=num_members,
        brief_steps=brief_steps, **training,
    )
    wrong = (pairs.label != pairs.truth)[jnp.argsort(strength)]
    deciles = jnp.mean(wrong.reshape(10, -1), axis=-1)
    fit = lambda treated: models.fit_scorer(
        keys["final"], model, loss, rows | treated, **training
    )
    return truth, deciles, jax.vmap(fit)(treatments(strength)[1])

  def read(key, learned):
    truth, deciles, params = learned
    accuracy = held_out(jax.random.fold_in(key, 1), truth, num_test)
    score = lambda p: accuracy(functools.partial(model.apply, p))
    return deciles, jax.vmap(score)(params)

  deciles, found = models.in_two_stages(
      train, read, seed_keys(seed, num_seeds)
  )
  names = treatments(jnp.zeros(10))[0]
  found = dict(zip(names, found.T))
  mean = {name: np.mean(x) for name, x in found.items()}
  shares = np.mean(deciles, axis=0)
  passed = np.all(np.diff(shares) <= 0) and all(
      mean[name] >= mean["Bradley-Terry"] + gain for name in ("flip", "soft")
  )
  rows = [mean_row(name, "accuracy", x) for name, x in found.items()]
  rows += [
      mean_row(f"decile {i + 1}", "wrong labels", deciles[:, i])
      for i in range(10)
  ]
  return Study(
      "Secrets of RLHF II: pairs treated by their strength",
      "Wrong labels grow rarer from decile to decile of strength; turning the "
      f"weakest fifth, and soft labels, add at least {gain:g} each",
      bool(passed),
      rows,
      {"deciles": Curves(
          np.arange(1, 11), {"wrong labels": deciles}, "decile of strength",
          "share of wrong labels",
      )},
  )
