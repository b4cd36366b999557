"""The worlds of the studies of learned rewards."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import gold, steps, synonyms, tokens, users
from rewardjax.types import NoiseRates
from tests import light_keys

KEY = jax.random.key(0, impl=light_keys.IMPL)
OTHER = jax.random.key(1, impl=light_keys.IMPL)
TRUTH = gold.gold_model(OTHER, dim=4)


def made(call):
  """What a call without arguments returns, compiled once."""
  return jax.device_get(jax.jit(call)())


def test_gold_is_standard_and_reads_its_own_coordinates():
  x = jax.random.normal(KEY, (20000, 4))
  rewards = gold.value(TRUTH, x)
  np.testing.assert_allclose(jnp.mean(rewards), 0, atol=0.06)
  np.testing.assert_allclose(jnp.std(rewards), 1, atol=0.06)
  more = jnp.concatenate([x, 9 * jnp.ones((20000, 1))], -1)
  np.testing.assert_array_equal(gold.value(TRUTH, more), rewards)
  far = jnp.array([[0.0, 3.0, 4.0, 0.0]])
  lost = gold.value(TRUTH, far) - gold.value(TRUTH, far, limit=2.0)
  np.testing.assert_allclose(lost, 1.5, rtol=1e-5)


def test_labels_are_wrong_at_their_rates():
  rates = NoiseRates(0.1, 0.4)
  pairs = gold.compare(KEY, TRUTH, num_pairs=20000, rates=rates, spurious=2.0)
  np.testing.assert_array_equal(pairs.truth, pairs.gap > 0)
  wrong = np.asarray(pairs.label != pairs.truth)
  better = np.asarray(pairs.truth == 1)
  assert abs(wrong[better].mean() - 0.4) < 0.02
  assert abs(wrong[~better].mean() - 0.1) < 0.02
  chosen, rejected = pairs.oriented()
  assert chosen.shape == (20000, 5)
  shift = jnp.mean(chosen[:, -1] - rejected[:, -1])
  np.testing.assert_allclose(shift, 2.0, atol=0.05)
  won = gold.value(TRUTH, chosen) > gold.value(TRUTH, rejected)
  assert abs(float(jnp.mean(won)) - (1 - wrong.mean())) < 1e-6


def test_items_around_another_mean_are_moved_and_judged_there():
  mean = jnp.array([3.0, -1.0, 0.0, 0.5])
  still, moved = made(lambda: [
      gold.compare(KEY, TRUTH, num_pairs=50, mean=m) for m in (None, mean)
  ])
  for x, y in zip(still[:2], moved[:2]):
    np.testing.assert_allclose(y, x + np.asarray(mean), rtol=1e-5, atol=1e-5)
  gap = gold.value(TRUTH, moved.first) - gold.value(TRUTH, moved.second)
  np.testing.assert_allclose(moved.gap, gap, atol=1e-5)


def test_blunt_labels_and_stretched_candidates():
  pairs, x = made(lambda: (
      gold.compare(KEY, TRUTH, num_pairs=20000, sharpness=1.0),
      gold.candidates(KEY, (20000,), dim=16, tail=0.03),
  ))
  share = np.mean(1 / (1 + np.exp(-np.abs(pairs.gap))))
  right = np.mean((pairs.truth > 0.5) == (pairs.gap > 0))
  np.testing.assert_allclose(right, share, atol=0.02)
  assert abs(np.mean(np.linalg.norm(x, axis=-1) > 7) - 0.03) < 0.01


def test_levels_ratings_strengths_and_ties_by_hand():
  rewards = jnp.array([-2.0, -0.2, 0.4, 0.5, 3.0])
  np.testing.assert_array_equal(
      gold.levels(rewards, num_levels=3), [0, 1, 1, 2, 2]
  )
  np.testing.assert_array_equal(
      gold.ratings(KEY, rewards, noise=0.0), [0, 2, 2, 2, 4]
  )
  np.testing.assert_array_equal(
      gold.strengths(KEY, rewards, noise=0.0), [3, 1, 1, 1, 3]
  )
  np.testing.assert_array_equal(
      gold.outcomes(rewards, tie_width=0.3), [-1, 0, 1, 1, 1]
  )
  scores = jnp.array([-1.0, 1.0, 1.0, -1.0, 1.0])
  np.testing.assert_allclose(gold.accuracy(scores, rewards), 0.6)


def test_two_kinds_of_users_differ_on_one_thing_only():
  kinds = users.mixed_kinds(5)
  np.testing.assert_array_equal(kinds, [0, 1, 0, 1, 0])
  x = jnp.array([1.0, 1.0, 0.0])
  worth = users.value(jnp.stack([x, x]), kinds[:2])
  np.testing.assert_allclose(worth, [1.3, -0.7], atol=1e-6)

  def gaps():
    rows = users.survey(KEY, kinds, num_pairs=4000, dim=3, flip_rate=0.1)
    chosen, rejected = (
        users.value(x, kinds[:, None]) for x in (rows.chosen, rows.rejected)
    )
    return chosen - rejected

  np.testing.assert_allclose(np.mean(made(gaps) > 0, -1), 0.9, atol=0.03)


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

  def draw():
    texts = tokens.draw_texts(KEY, wide, length=5, lengths=lengths)
    return texts, tokens.counts(texts)

  texts, counts = made(draw)
  assert texts.mask[0, 0].all() and texts.mask.sum() == 2 * (1999 * 3 + 5)
  seen = counts.sum(1) / texts.mask.sum((1, 2))[:, None]
  np.testing.assert_allclose(seen, law, atol=0.02)


def test_the_chosen_text_has_more_gold_and_the_style_of_the_label():

  def draw():
    pairs = tokens.draw_pairs(
        KEY, 500, length=10, quality=0.7, style=0.95, style_share=0.4
    )
    both = (pairs.chosen, pairs.rejected)
    return [(tokens.gold(x), tokens.counts(x)[:, 6]) for x in both]

  (chosen, style), (rejected, other) = made(draw)
  assert (chosen >= rejected).all()
  assert style.mean() > 3 * other.mean()


def test_an_answer_is_worth_how_often_it_says_what_was_asked():
  text = lambda rows: tokens.Texts(
      jnp.array(rows), jnp.ones((len(rows), len(rows[0])), bool)
  )
  asked = text([[0, 0, 5], [1, 2, 3]])
  said = text([[8, 21, 7, 6], [9, 18, 27, 17]])  # mean 0 5 7 6, and 1 2 3 1
  np.testing.assert_array_equal(synonyms.gold(asked, said), [3, 4])


def test_other_words_mean_the_same_and_alike_requests_do_not():

  def draw():
    asked = synonyms.draw_requests(KEY, 3000, length=6)
    near = synonyms.alike(KEY, asked, num_changed=2)
    said = synonyms.draw_answers(
        KEY, asked, length=10, skill=0.5, num_forms=4, usual=0.7
    )
    other = synonyms.reword(OTHER, said, num_changed=3, num_forms=4)
    return asked, near, said, other

  asked, near, said, other = made(draw)
  assert ((asked.tokens != near.tokens).sum(-1) == 2).all()
  assert near.tokens.min() >= 0 and near.tokens.max() < 8
  changed = said.tokens != other.tokens
  assert (changed.sum(-1) == 3).all()
  np.testing.assert_array_equal(said.tokens % 8, other.tokens % 8)
  assert other.tokens.min() >= 0 and other.tokens.max() < 32
  forms = np.bincount((said.tokens // 8).ravel()) / said.tokens.size
  np.testing.assert_allclose(forms, [0.7, 0.1, 0.1, 0.1], atol=0.01)
  # Meant for the request, or right by chance.
  hit = (said.tokens[..., None] % 8 == asked.tokens[:, None]).mean()
  same = (asked.tokens[:, None] == asked.tokens[..., None]).mean()
  np.testing.assert_allclose(hit, 0.5 * same + 0.5 / 8, atol=0.01)


def test_embeddings_of_one_meaning_lie_together():
  table = synonyms.embeddings(KEY, num_forms=3, width=4, blur=0.0)
  words = jnp.array([[1, 9, 17], [1, 2, 2]])
  found = synonyms.embed(table, words)
  np.testing.assert_allclose(found[0], table[1], rtol=1e-5)
  np.testing.assert_allclose(
      found[1], (table[1] + 2 * table[2]) / 3, rtol=1e-5
  )


def test_padding_does_not_change_a_score():
  scorer = tokens.init_scorer(KEY, width=4)._replace(out=jnp.ones(4))
  row, none = jnp.array([[0, 5, 6]]), jnp.zeros((1, 2), int)
  short = tokens.Texts(row, jnp.ones((1, 3), bool))
  mask = jnp.array([[True] * 3 + [False] * 2])
  long = tokens.Texts(jnp.concatenate([row, none], -1), mask)
  scores = made(lambda: (scorer(short), scorer(long)))
  np.testing.assert_allclose(*scores, rtol=1e-6)


def test_chains_err_once_and_may_be_mended():
  draw = lambda repair: steps.draw_chains(
      KEY, 4000, num_steps=4, num_features=3, signal=2.0, repair=repair
  )
  # With repair: an error before the last step is mended or lasts.
  chains, mended = made(lambda: (draw(0.0), draw(1.0)))
  # Nothing is right after an error; half have none; places are uniform.
  assert (np.diff(chains.right.astype(int), axis=-1) <= 0).all()
  assert abs(chains.correct.mean() - 0.5) < 0.03
  first = np.sum(chains.right, -1)[~chains.correct]
  np.testing.assert_allclose(
      np.bincount(first) / first.size, 0.25, atol=0.03
  )
  along = np.where(chains.right, 1, -1) * chains.features.sum(-1) / 3**0.5
  assert abs(along.mean() - 2) < 0.05 and abs(along.std() - 1) < 0.05
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

  def learn():
    chains = steps.draw_chains(
        KEY, 300, num_steps=4, num_features=3, signal=2.0
    )
    mask = jnp.ones((300, 4), bool)
    judge = steps.fit_judge(
        KEY, (chains.features, chains.right.astype(float), mask),
        num_steps=100, batch_size=32, learning_rate=0.1,
    )
    return judge(chains.features), chains.right

  said, right = made(learn)
  assert ((said > 0) == right).mean() > 0.95
