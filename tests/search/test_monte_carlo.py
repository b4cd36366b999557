import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import compression, monte_carlo
from tests import variants

compression = variants.programs(compression, host=("merged_texts",))
monte_carlo = variants.programs(monte_carlo, host=("values_until_zero",))


def rollout(key, prefix, n):
  """Draws that are right with the chance that the prefix is."""
  return jax.random.uniform(key, (n,)) < prefix


def verify(prefix, completions):
  del prefix
  return completions.astype(float)


PREFIXES = jnp.array([1.0, 0.5, 0.0, 0.9])


def test_certain_prefixes_have_their_values_exactly():
  values = monte_carlo.mc_step_values(
      jax.random.key(0), rollout, verify, PREFIXES, num_samples=400
  )
  assert values[0] == 1 and values[2] == 0
  np.testing.assert_allclose(values, PREFIXES, atol=4 * 0.5 / 20)


def test_values_are_unbiased_by_enumeration():
  """Over all equally likely completions the mean share is the chance."""
  outcomes = jnp.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])

  def every(key, prefix, n):
    del key
    return prefix + jnp.arange(n) % 8

  verdict = lambda prefix, done: outcomes[done - prefix]
  values = monte_carlo.mc_step_values(
      jax.random.key(0), every, verdict, jnp.arange(3), num_samples=16
  )
  np.testing.assert_allclose(values, 5 / 8)


def test_draws_of_a_prefix_do_not_depend_on_the_others():
  value = lambda prefixes: monte_carlo.mc_step_values(
      jax.random.key(1), rollout, verify, prefixes, num_samples=8
  )
  np.testing.assert_array_equal(value(PREFIXES)[:2], value(PREFIXES[:2]))
  with variants.op_by_op():
    eager = value(PREFIXES)
  np.testing.assert_array_equal(eager, jax.jit(value)(PREFIXES))


def test_one_by_one_stops_at_the_first_zero_with_the_same_draws():
  asked = []

  def counted(key, prefix, n):
    asked.append(float(prefix))
    return rollout(key, prefix, n)

  key = jax.random.key(2)
  values = monte_carlo.values_until_zero(
      key, counted, verify, list(PREFIXES), num_samples=8
  )
  together = monte_carlo.mc_step_values(
      key, rollout, verify, PREFIXES, num_samples=8
  )
  assert asked == [1.0, 0.5, 0.0]
  np.testing.assert_allclose(values, together[:3])


def test_texts_on_the_host_and_unknown_verdicts():
  complete = lambda key, prefix, n: [prefix + str(i) for i in range(n)]
  verdict = lambda prefix, done: np.array(
      [np.nan if x.endswith("3") else x.endswith("1") for x in done]
  )
  values = monte_carlo.values_until_zero(
      jax.random.key(0), complete, verdict, ["a", "b"], num_samples=4
  )
  np.testing.assert_allclose(values, [1 / 3, 1 / 3])
  unknown = monte_carlo.values_until_zero(
      jax.random.key(0), complete, lambda p, d: [np.nan] * 4, "ab",
      num_samples=4,
  )
  assert np.all(np.isnan(unknown)) and len(unknown) == 2


# The root 0, A = 1 with leaves 2..5 (three right), B = 6 with leaves 7..9.
PARENTS = jnp.array([-1, 0, 1, 1, 1, 1, 0, 6, 6, 6])
def test_verdicts_may_be_true_and_false():
  sayings = {"a": [True, False, True, True], "b": [False] * 4}
  found = monte_carlo.values_until_zero(
      jax.random.key(0),
      lambda key, prefix, n: [prefix] * n,
      lambda prefix, completions: sayings[prefix],
      ["a", "b", "a"],
      num_samples=4,
  )
  np.testing.assert_allclose(found, [0.75, 0])


CORRECT = jnp.array([0, 0, 1, 1, 1, 0, 0, 1, 0, 0]).astype(bool)


def test_tree_scores_by_hand():
  for variant in (variants.eager, jax.jit):
    scores = variant(monte_carlo.tree_mc_scores)(PARENTS, CORRECT)
    expected = [4 / 7, 3 / 4, 1, 1, 1, 0, 1 / 3, 1, 0, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_the_verdict_of_an_inner_node_is_not_read():
  a, b = (
      monte_carlo.tree_mc_scores(PARENTS, x)
      for x in (CORRECT, CORRECT.at[jnp.array([0, 1, 6])].set(True))
  )
  np.testing.assert_array_equal(a, b)


def random_tree(random, size):
  parents = [-1] + [int(random.integers(0, i)) for i in range(1, size)]
  return np.array(parents), random.random(size) < 0.5


def leaves_below(parents, node):
  leaves = set(range(len(parents))) - set(parents.tolist())
  found = []
  for leaf in leaves:
    at = leaf
    while at >= 0 and at != node:
      at = parents[at]
    found += [leaf] if at == node else []
  return found


def test_tree_scores_of_random_trees():
  random = np.random.default_rng(0)
  for _ in range(3):
    parents, correct = random_tree(random, 30)
    scores = monte_carlo.tree_mc_scores(*map(jnp.array, (parents, correct)))
    expected = [correct[leaves_below(parents, i)].mean() for i in range(30)]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_two_roots_are_two_trees():
  parents = jnp.array([-1, -1, 0, 1])
  scores = monte_carlo.tree_mc_scores(
      parents, jnp.array([False, False, True, False])
  )
  np.testing.assert_array_equal(scores, [1, 0, 1, 0])


def test_one_child_of_a_large_node_moves_up_by_hand():
  """A gives its leaf 3; B has too few children, the root no parent."""
  which = jnp.full(10, 0.9).at[3].set(0.1)
  parents, merged = compression.compress(PARENTS, jnp.zeros(10), which)
  assert parents.tolist() == [-1, 0, 1, 0, 1, 1, 0, 6, 6, 6]
  assert merged.tolist() == [-1, -1, -1, 1] + [-1] * 6
  scores = monte_carlo.tree_mc_scores(parents, CORRECT)
  expected = [4 / 7, 2 / 3, 1 / 3]
  np.testing.assert_allclose(scores[jnp.array([0, 1, 6])], expected)
  texts = compression.merged_texts(merged, list("rabcdefghi"), separator="+")
  assert texts[3] == "a+c" and texts[4] == "d"


def test_nodes_that_keep_their_children():
  stays = compression.compress(PARENTS, jnp.full(10, 0.5), jnp.zeros(10))
  assert stays.parents.tolist() == PARENTS.tolist()
  goes = compression.compress(PARENTS, jnp.full(10, 0.49), jnp.zeros(10))
  assert goes.merged.tolist() == [-1, -1, 1] + [-1] * 7  # equal draws
  star = jnp.array([-1, 0, 0, 0, 0, 0])
  assert compression.node_compression(
      jax.random.key(0), star, probability=1.0
  ).parents.tolist() == star.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_leaves_keep_their_texts(seed):
  random = np.random.default_rng(seed)
  parents, _ = random_tree(random, 40)
  parents = np.minimum(parents, 5)  # a few large nodes
  texts = [f"<{i}>" for i in range(40)]

  def whole(parents, texts, leaf):
    said = ""
    while leaf >= 0:
      said, leaf = texts[leaf] + said, parents[leaf]
    return said

  found = compression.node_compression(
      jax.random.key(seed), jnp.array(parents), probability=1.0
  )
  moved = np.array(found.parents)
  leaves = set(range(40)) - set(parents.tolist())
  assert leaves == set(range(40)) - set(moved.tolist())
  assert np.any(moved != parents) and np.all(moved[1:] < np.arange(1, 40))
  new = compression.merged_texts(found.merged, texts)
  for leaf in leaves:
    assert whole(moved, new, leaf) == whole(parents, texts, leaf)
  given = np.array(found.merged)[np.array(found.merged) >= 0]
  assert len(set(given)) == len(given)  # at most one child each


def test_names_bad_arguments(no_jaxtyping):
  key = jax.random.key(0)
  with pytest.raises(ValueError, match=r"mc_step_values: num_samples must be"):
    monte_carlo.mc_step_values(key, rollout, verify, PREFIXES, num_samples=0)
  with pytest.raises(ValueError, match=r"values_until_zero: num_samples must"):
    monte_carlo.values_until_zero(key, rollout, verify, [], num_samples=0)
  with pytest.raises(ValueError, match=r"'correct': \(3,\)"):
    monte_carlo.tree_mc_scores(PARENTS, jnp.ones(3, bool))
  with pytest.raises(ValueError, match="probability must be in"):
    compression.node_compression(key, PARENTS, probability=2.0)
  with pytest.raises(ValueError, match="min_children must be in"):
    compression.node_compression(key, PARENTS, min_children=1)
  with pytest.raises(ValueError, match="merged_texts: expected one common"):
    compression.merged_texts([-1, -1], ["a"])


@variants.every
def test_variants_agree(variant):
  draws = jnp.arange(20.0).reshape(2, 10) / 20
  one = lambda p, d: jax.vmap(
      lambda p, d: compression.compress(p, d, d).parents
  )(p, d)
  if variant is variants.vmapped:
    one = lambda p, d: compression.compress(p, d, d).parents
  actual = variant(one)(jnp.stack([PARENTS] * 2), draws)
  assert actual[0].tolist() == [-1, 0, 0, 1, 1, 1, 0, 6, 6, 6]
  assert actual[1].tolist() == PARENTS.tolist()
