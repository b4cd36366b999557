"""What the studies of learned rewards take for true is what it says."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import steps, tokens

KEY = jax.random.key(0)


def test_gold_by_hand():
  rows = jnp.array([[0, 1, 2, 6], [3, 4, 5, 7], [0, 3, 6, 7], [0, 3, 3, 3]])
  mask = jnp.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]])
  texts = tokens.Texts(rows, mask.astype(bool))
  np.testing.assert_array_equal(tokens.gold(texts), [3, -3, 0, 0])
  np.testing.assert_array_equal(tokens.counts(texts)[3], [1, 0, 0, 1] + [0] * 4)


def test_texts_follow_their_law_and_their_length():
  law = tokens.token_law(jnp.array([1.0, 0.25]), jnp.array([0.0, 0.9]), 0.4)
  np.testing.assert_allclose(jnp.sum(law, -1), 1, rtol=1e-6)
  np.testing.assert_allclose(law[1, 3:], [0.15] * 3 + [0.36, 0.04], rtol=1e-6)
  wide = jnp.broadcast_to(law[:, None], (2, 2000, 8))
  lengths = jnp.full((2, 2000), 3).at[:, 0].set(5)
  texts = tokens.draw_texts(KEY, wide, length=5, lengths=lengths)
  assert texts.mask[0, 0].all() and texts.mask.sum() == 2 * (1999 * 3 + 5)
  seen = tokens.counts(texts).sum(1) / texts.mask.sum((1, 2))[:, None]
  np.testing.assert_allclose(seen, law, atol=0.02)


def test_the_chosen_text_has_more_gold_and_the_style_of_the_label():
  pairs = tokens.draw_pairs(
      KEY, 500, length=10, quality=0.7, style=0.95, style_share=0.4
  )
  assert (tokens.gold(pairs.chosen) >= tokens.gold(pairs.rejected)).all()
  style = lambda texts: tokens.counts(texts)[:, 6].mean()
  assert style(pairs.chosen) > 3 * style(pairs.rejected)


def test_padding_does_not_change_a_score():
  scorer = tokens.init_scorer(KEY, width=4)._replace(out=jnp.ones(4))
  row, none = jnp.array([[0, 5, 6]]), jnp.zeros((1, 2), int)
  short = tokens.Texts(row, jnp.ones((1, 3), bool))
  mask = jnp.array([[True] * 3 + [False] * 2])
  long = tokens.Texts(jnp.concatenate([row, none], -1), mask)
  np.testing.assert_allclose(scorer(short), scorer(long), rtol=1e-6)


def test_chains_err_once_and_may_be_mended():
  draw = lambda repair: steps.draw_chains(
      KEY, 4000, num_steps=4, num_features=3, signal=2.0, repair=repair
  )
  chains = draw(0.0)
  # Nothing is right after an error; half have none; places are uniform.
  assert (jnp.diff(chains.right.astype(int), axis=-1) <= 0).all()
  assert abs(chains.correct.mean() - 0.5) < 0.03
  first = jnp.sum(chains.right, -1)[~chains.correct]
  np.testing.assert_allclose(
      np.bincount(first) / first.size, 0.25, atol=0.03
  )
  along = jnp.where(chains.right, 1, -1) * chains.features.sum(-1) / 3**0.5
  assert abs(along.mean() - 2) < 0.05 and abs(along.std() - 1) < 0.05
  # With repair: an error before the last step is mended or lasts.
  mended = draw(1.0)
  assert ((~mended.right).sum(-1) <= 1).all()
  assert abs(mended.correct.mean() - (1 - 0.5 / 4)) < 0.03


def test_completions_tell_right_beginnings_from_wrong_ones():
  chains = steps.Chains(
      jnp.zeros((2, 3, 1)),
      jnp.array([[True, True, False], [False, False, False]]),
      jnp.array([0.9, 0.4]),
  )
  found = steps.completed_values(
      KEY, chains, num_samples=4000, wrong_rate=0.1
  )
  expected = [[0.9, 0.9, 0.1], [0.1, 0.1, 0.1]]
  np.testing.assert_allclose(found, expected, atol=0.03)


def test_a_judge_learns_the_direction_of_right_steps():
  chains = steps.draw_chains(
      KEY, 300, num_steps=4, num_features=3, signal=2.0
  )
  judge = steps.fit_judge(
      KEY,
      (chains.features, chains.right.astype(float), jnp.ones((300, 4), bool)),
      num_steps=100, batch_size=32, learning_rate=0.1,
  )
  said = judge(chains.features) > 0
  assert (said == chains.right).mean() > 0.95
