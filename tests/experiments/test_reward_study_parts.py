"""Parts of the studies of learned rewards, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies import frontier, frontier_kl, hull_pairs
from experiments.reward_studies.beds import synonyms, tokens
from tests import light_keys

KEY = jax.random.key(0, impl=light_keys.IMPL)


def test_a_path_is_read_where_its_policies_are():
  mean = jnp.array([[0.0, 0.0], [1.0, 2.0], [3.0, 0.0], [0.0, 4.0]])
  path = frontier.Policy(mean, jnp.full((4, 2), -20.0).at[3].set(0.0))
  total = lambda x: jnp.sum(x, axis=-1)
  read = lambda every: frontier.read_path(
      KEY, path, total, lambda x: 2 * total(x), num_read=3, every=every
  )
  kl, true, proxy = jax.jit(lambda: read(1))()
  np.testing.assert_allclose(true[:3], [0.0, 3.0, 3.0], atol=1e-5)
  np.testing.assert_allclose(proxy, 2 * true, rtol=1e-6)
  np.testing.assert_allclose(kl[3], 8.0, rtol=1e-6)  # |mean|^2 / 2
  sparse = jax.jit(lambda: read(2))()
  for dense, some in zip((kl, true, proxy), sparse):
    np.testing.assert_array_equal(some, dense[1::2])


def test_a_path_is_met_where_it_first_has_a_kl():
  kl = np.array([[1.0, 3.0, 2.0, 5.0], [1.0, 2.0, 3.0, 4.0]])
  true = np.array([[10.0, 30.0, 99.0, 50.0], [1.0, 2.0, 3.0, 4.0]])
  found = frontier_kl.path_at([2.0, 2.5], kl, true)
  np.testing.assert_allclose(found, [20.0, 2.5])
  # Past its end a path has what it ended with.
  np.testing.assert_allclose(
      frontier_kl.path_at([9.0, 9.0], kl, true), [50.0, 4.0]
  )


def test_variants_fill_all_rows_and_the_hull_drops_the_middle():
  square = np.array([[0, 0], [1, 1], [-1, 1], [-1, -1], [1, -1], [0.5, 0.5]])
  line = np.arange(6)[:, None] * np.ones(2)
  same = np.zeros((6, 2))
  arms, kept = hull_pairs.choose_variants(
      np.array([[square, same], [line, same]]), np.random.default_rng(0)
  )
  plain, drawn, hull, both = arms
  corners = [[1, 2, 3, 4, 1, 2], [0] * 6]
  assert not plain.any() and kept.tolist() == [4, 1]
  assert [len(set(x)) for x in drawn[0].tolist()] == [4, 1]
  assert hull[0].tolist() == both[0].tolist() == corners
  assert not drawn[1].any() and not hull[1].any()
  assert both[1].tolist() == [[0, 5, 0, 5, 0, 5], [0] * 6]


def test_rows_repeat_a_pair_with_the_variants_chosen():
  words = jnp.arange(24).reshape(2, 2, 2, 3)  # sides, pairs, variants
  requests = tokens.Texts(jnp.array([[6], [7]]), jnp.ones((2, 1), bool))
  rows = hull_pairs.rows_of(
      requests, words, jnp.array([[[1, 0], [1, 1]], [[0, 0], [0, 1]]])
  )
  chosen = [[3, 4, 5], [0, 1, 2], [9, 10, 11], [9, 10, 11]]
  rejected = [[12, 13, 14], [12, 13, 14], [18, 19, 20], [21, 22, 23]]
  assert rows["chosen"].tokens.tolist() == chosen
  assert rows["rejected"].tokens.tolist() == rejected
  assert rows["asked"].tokens.ravel().tolist() == [6, 6, 7, 7]


def test_a_reward_that_knows_meanings_is_right_and_a_blind_one_is_not():
  world = dict(asked=6, length=10, skills=(0.7, 0.2), num_forms=4, usual=0.7)
  words = jnp.tile(jnp.eye(8), (4, 1))
  read = lambda meaning: hull_pairs.measures(
      KEY, hull_pairs.Towers(meaning, words), num_test=500, changed=2,
      world=world,
  )

  def both():
    _, better, worse = pairs = hull_pairs.draw_pairs(KEY, 500, **world)
    gold = [synonyms.gold(pairs[0], x) for x in (better, worse)]
    return read(jnp.eye(8)), read(jnp.zeros((8, 8))), gold

  knowing, blind, (better, worse) = jax.device_get(jax.jit(both)())
  assert (better >= worse).all() and (better > worse).mean() > 0.8
  assert knowing == {"accuracy": 1.0, "C_res": 1.0, "C_ins": 1.0}
  assert blind == {"accuracy": 0.5, "C_res": 0.0, "C_ins": 0.0}
