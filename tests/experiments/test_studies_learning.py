"""The worlds of the studies that train networks, and that of private agents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.noise_studies import form as studies_form
from experiments.noise_studies import leaks as studies_leaks
from experiments.noise_studies import learned_steps as studies_learned_steps
from experiments.noise_studies import networks as studies_networks
from experiments.noise_studies import privacy as studies_privacy
from rewardjax.data.expressions import RandomCalculation
from rewardjax.models.transformer import Transformer
from rewardjax.noise import privacy
from rewardjax.types import Rollouts
from tests import light_keys

WORDS = studies_form.Words(5)
FIRST, THEREFORE, STOP = 5, 6, 8


def written(*rows):
  """Rollouts `[1, G]` of one prompt, 1 + 2 + 4."""
  tokens = np.zeros((1, len(rows), 6), np.int32)
  mask = np.zeros(tokens.shape, bool)
  for i, row in enumerate(rows):
    tokens[0, i, : len(row)], mask[0, i, : len(row)] = row, True
  prompts = jnp.asarray(WORDS.prompts(np.array([[1, 2, 4]])))
  cut = jnp.asarray([[STOP not in row for row in rows]])
  return Rollouts(
      prompts, prompts >= 0, jnp.asarray(tokens), jnp.asarray(mask),
      jnp.zeros(tokens.shape), cut,
  )


def test_sums_and_their_form_by_hand():
  rows = written(
      [FIRST, 3, THEREFORE, 2, STOP],
      [FIRST, 3, THEREFORE, 1, STOP],
      [2, STOP],
      [FIRST, FIRST, 2, STOP],
      [STOP],
      [2, 2, 2, 2, 2, 2],
      [FIRST, STOP],
  )
  expected = [[True, False, True, True, False, False, False]]
  np.testing.assert_array_equal(WORDS.right(rows), expected)
  # Of 20 phrases: "first, " needs a blank after it, and counts once. A text
  # without a number has no form.
  actual = WORDS.form(np.asarray(rows.tokens), np.asarray(rows.mask))
  expected = [[0.1, 0.1, 0, 0.05, 0, 0, 0]]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("able", [True, False])
def test_a_pad_is_shown_as_often_as_it_should_and_helps_if_able(able):
  rng = np.random.default_rng(0)
  digits = rng.integers(0, 5, (4000, 3))
  rows = WORDS.shown(rng, digits, pads=0.25, able=able)
  padded = rows.tokens[:, 0] == FIRST
  assert abs(np.mean(padded) - 0.25) < 5 * np.sqrt(0.1875 / 4000)
  np.testing.assert_array_equal(rows.mask.sum(-1), np.where(padded, 5, 2))
  right = rows.tokens[padded, 3] == digits[padded].sum(-1) % 5
  guessed = rows.tokens[~padded, 0] == digits[~padded].sum(-1) % 5
  assert np.all(right) if able else abs(np.mean(right) - 0.2) < 0.07
  assert abs(np.mean(guessed) - 0.2) < 0.04


def test_problems_are_laid_out_prompt_answer_stop():
  made = RandomCalculation(
      n_ops=3, operands=(10, 99), operators=("+", "-"), max_magnitude=999
  )
  items = studies_leaks._items(made, 3, 9, 24)
  decode = lambda row, mask: studies_leaks._TOKENIZER.decode(row[mask].tolist())
  for i in range(6):
    problem = made[3 + i]
    assert decode(items.tokens[i], items.prompt_mask[i]) == problem.prompt
    said = decode(items.tokens[i], items.answer_mask[i])
    assert said == f"{problem.answer}."
  rows = studies_leaks._batches(items, 0, 4, 3)
  assert rows.tokens.shape == (4, 3, 23)
  # Two rounds over six items: each comes twice.
  whole = np.concatenate([rows.prompts, rows.tokens], -1).reshape(12, -1)
  _, counts = np.unique(whole, axis=0, return_counts=True)
  np.testing.assert_array_equal(counts, 2)


def test_solutions_fail_by_one_step_at_their_rate():
  added = jnp.repeat(jnp.arange(3), 3000)
  chance = jnp.array([0.8, 0.5, 0.2])
  key = jax.random.key(0, impl=light_keys.IMPL)
  made = jax.device_get(jax.jit(lambda: studies_learned_steps.write(
      key, added, jnp.eye(3) * 9, chance=chance, useful=4, most=2
  ))())
  kind = np.where(made.mask, made.kind, -1)
  np.testing.assert_array_equal((kind == 2).sum(-1), added)
  np.testing.assert_array_equal((kind >= 0).sum(-1), 4 + np.asarray(added))
  np.testing.assert_array_equal((kind == 1).sum(-1), ~np.asarray(made.solved))
  rates = np.asarray(made.solved).reshape(3, -1).mean(-1)
  np.testing.assert_allclose(rates, chance, atol=0.04)
  # Each of the four useful steps is the wrong one equally often, and padding
  # never is: the last step stands after it.
  wrong = np.argmax(kind[6000:] == 1, -1)[~np.asarray(made.solved[6000:])]
  shares = np.bincount(wrong, minlength=6) / wrong.size
  np.testing.assert_allclose(shares, [0.25] * 3 + [0, 0, 0.25], atol=0.05)
  assert np.mean(np.argmax(made.features, -1) == made.kind) > 0.99


def test_herds_are_right_as_often_as_their_closed_form():
  for epsilon in (None, 1.0):
    share = studies_privacy.herd(
        jax.random.key(1), accuracy=0.7, epsilon=epsilon, num_runs=4000,
        num_agents=200,
    )
    law = {} if epsilon is None else dict(epsilon=epsilon)
    expected = privacy.correct_cascade_probability(0.7, **law)
    assert abs(float(share) - expected) < 5 * np.sqrt(0.25 / 4000)


def test_belief_of_agents_who_act_rightly():
  found = studies_privacy.all_right((10, 100), epsilon=0.5)
  assert found[1] == pytest.approx(11.45, abs=0.01)
  assert 0 < found[0] < found[1]


def test_imitation_learns_what_follows_and_ignores_padding():
  model = Transformer(
      vocab_size=4, width=8, num_layers=1, num_heads=2, mlp_width=8
  )
  prompts = jnp.array([[0, 1], [1, 0]])
  tokens = jnp.array([[2, 3, 1], [3, 3, 0]])
  mask = jnp.array([[True, True, False], [True, True, False]])
  rows = studies_networks.Rows(prompts, tokens, mask)
  loss = jax.jit(lambda params, rows: studies_networks.imitation_loss(
      model, params, rows
  ))
  key = jax.random.key(0, impl=light_keys.IMPL)
  start = jax.jit(lambda: studies_networks.start(key, model))
  before = loss(start(), rows)
  batches = jax.tree.map(lambda x: jnp.asarray(np.stack([x] * 80)), rows)
  learn = jax.jit(lambda rows: studies_networks.imitate(
      key, model, rows, learning_rate=0.05
  ))
  params = learn(batches)
  learned = float(loss(params, rows))
  assert before > 1.0 and learned < 0.05
  # What is masked was not learned, and changes nothing.
  other = rows._replace(tokens=jnp.array([[2, 3, 2], [3, 3, 2]]))
  assert loss(params, other) == learned
  whole = rows._replace(mask=jnp.asarray(np.ones((2, 3), bool)))
  assert loss(params, whole) > 0.2
