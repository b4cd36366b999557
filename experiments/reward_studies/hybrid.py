"""What HARMO claims: answers that do not shrink, and tasks no rule can check.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import tables
from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.advantages import group
from rewardjax.core.random import split_named
from rewardjax.environments import bandits
from rewardjax.recipes import hybrid
from rewardjax.types import NoiseRates, Reward

_PENALTIES = {"rule": 0.0, "with the penalty": 0.5}
_READINGS = ("rule only", "learned only", "hybrid")


def _descend(key, logits, pay, *, group_size, num_steps, learning_rate):
  """Logits after REINFORCE with centred advantages."""

  def step(logits, key):
    draw_key, pay_key = jax.random.split(key)
    chosen = tables.draw(draw_key, logits, group_size=group_size)
    advantages = group.centered(*pay(pay_key, chosen))
    return tables.ascend(
        logits, chosen, advantages, learning_rate=learning_rate
    ), None

  return jax.lax.scan(step, logits, jax.random.split(key, num_steps))[0]


def _lengths_run(key, max_penalty, *, num_prompts, lengths, right, form,
                 form_weight, **training):
  """Mean length and accuracy, before and after, of policies over lengths."""
  lengths = jnp.asarray(lengths)
  right, form = jnp.asarray(right), jnp.asarray(form)
  everywhere = jnp.ones((num_prompts, training["group_size"]), bool)

  def pay(key, chosen):
    keys = split_named(key, "right", "form")
    correct = jax.random.bernoulli(keys["right"], right[chosen])
    rule = Reward(correct.astype(float), everywhere)
    kept = jax.random.bernoulli(keys["form"], form[chosen]).astype(float)
    return hybrid.harmo_reward(
        rule, rule, everywhere, lengths[chosen], kept,
        form_weight=form_weight, max_penalty=max_penalty,
    )

  start = jnp.zeros((num_prompts, len(lengths)))
  read = lambda p: (jnp.mean(p @ lengths.astype(float)), jnp.mean(p @ right))
  before = read(jax.nn.softmax(start))
  after = read(jax.nn.softmax(_descend(key, start, pay, **training)))
  return dict(
      length=after[0] / before[0], accuracy=after[1], started=before[1]
  )


def _open_run(key, *, dim, num_prompts, num_arms, num_pairs, flips, threshold,
              fit, **training):
  """The share of right answers by each reading; half of the tasks are open."""
  keys = split_named(key, "gold", "pairs", "fit", "items", "learn")
  truth = gold.gold_model(keys["gold"], dim=dim)
  pairs = gold.compare(
      keys["pairs"], truth, num_pairs=num_pairs, rates=NoiseRates(flips, flips)
  )
  chosen, rejected = pairs.oriented()
  model = models.scorer(dim)
  params = models.fit_scorer(
      keys["fit"], model, models.pair_loss(model.apply),
      dict(chosen=chosen, rejected=rejected), **fit,
  )
  items = jax.random.normal(keys["items"], (num_prompts, num_arms, dim))
  correct = (gold.value(truth, items) > threshold).astype(float)
  scores = jax.nn.sigmoid(model.apply(params, items))
  shape = (num_prompts, training["group_size"])
  checked = (jnp.arange(num_prompts) % 2 == 0)[:, None]
  checked = jnp.broadcast_to(checked, shape)

  def learn(by_rule, by_model):
    def pay(key, chosen):
      del key
      rule = Reward(bandits.at_arms(correct, chosen), checked)
      learned = Reward(
          bandits.at_arms(scores, chosen), jnp.broadcast_to(by_model, shape)
      )
      return hybrid.harmo_reward(
          rule, learned, checked & by_rule, jnp.ones(shape, int)
      )

    start = jnp.zeros((num_prompts, num_arms))
    p = jax.nn.softmax(_descend(keys["learn"], start, pay, **training))
    return jnp.mean(jnp.sum(p * correct, -1))

  by_rule = jnp.array([True, False, True])  # in the order of _READINGS
  return jax.vmap(learn)(by_rule, jnp.array([False, True, True]))


def harmo(
    *, seed, num_seeds, share, lengths, open_tasks, training
) -> Study:
  """Answers whose length can be chosen, and tasks of which half are open.

  Short answers are mostly wrong and keep the form asked for; long ones are
  right more often. `share` is that of the first length that must remain.
  """

  def run(key):
    length_key, open_key = jax.random.split(key)
    arms = jax.vmap(
        lambda penalty: _lengths_run(
            length_key, penalty, **lengths, **training
        )
    )(jnp.asarray(list(_PENALTIES.values())))
    return arms, _open_run(open_key, **open_tasks, **training)

  arms, readings = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  left, accuracy = (np.mean(arms[k], 0) for k in ("length", "accuracy"))
  by = dict(zip(_READINGS, np.mean(readings, 0)))
  names = {"length": "length, of the first", "accuracy": "accuracy"}
  rows = [
      mean_row(arm, metric, arms[k][:, i])
      for i, arm in enumerate(_PENALTIES)
      for k, metric in names.items()
  ]
  rows += [
      mean_row(name, "right, half of the tasks open", readings[:, i])
      for i, name in enumerate(_READINGS)
  ]
  return Study(
      "HARMO: lengths that hold, and tasks without a rule",
      f"With the penalty answers keep {share:g} of their first length and are "
      "not less often right than without it; the hybrid reward beats the rule "
      "alone where half of the tasks are open",
      bool(
          left[1] >= share
          and accuracy[1] >= accuracy[0]
          and by["hybrid"] > by["rule only"]
      ),
      rows,
      {},
      f"{NOTE} The accuracy is {np.mean(arms['started']):.3f} at the start.",
  )
