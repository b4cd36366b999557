import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rewardjax.policies import log_probs
from rewardjax.policies.laws import PLAIN, SamplingLaw
from tests import variants

LAWS = [
    SamplingLaw(),
    SamplingLaw(0.7),
    SamplingLaw(1.0, 40),
    SamplingLaw(1.3, 0, 0.9),
    SamplingLaw(0.5, 20, 0.8),
    SamplingLaw(1.0, 1),
    SamplingLaw(0),
    SamplingLaw(0.9, min_p=0.02),
]


def make_inputs(dtype="float32", shape=(3, 7), width=16, vocab_size=301):
  draw = np.random.default_rng(0)
  features = draw.normal(size=(*shape, width))
  table = draw.normal(size=(vocab_size, width))
  likely = np.argmax(features @ table.T, axis=-1)
  random = draw.integers(0, vocab_size, shape)
  # Every law keeps some of these tokens and most exclude some.
  tokens = np.where(np.arange(shape[-1]) % 2 == 0, likely, random)
  weights = draw.normal(size=(2, *shape))
  narrow = lambda x: jnp.asarray(x.astype(dtype))
  return *map(narrow, (features, table)), jnp.asarray(tokens), narrow(weights)


def materialised(features, table, tokens, law=PLAIN):
  return log_probs.score_logits(features @ table.T, tokens, law=law)


def weighted(score, tokens, weights, **kwargs):
  """A loss that pulls on log-probs and entropies, where they are finite."""

  def loss(features, table):
    scores = score(features, table, tokens, **kwargs)
    finite = jnp.isfinite(scores.log_probs)
    pulled = jnp.where(finite, weights[0] * scores.log_probs, 0.0)
    return jnp.sum(pulled + weights[1] * scores.entropies), scores

  return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


@pytest.mark.parametrize(
    "law, dtype, chunk_size",
    [(law, "float64", 9) for law in LAWS]
    + [(law, "float32", 1) for law in (LAWS[0], LAWS[4], LAWS[5])],
)
def test_chunked_equals_materialised(law, dtype, chunk_size):
  """Values and gradients; 301 and 7 are not divided by any chunk."""
  with jax.enable_x64(dtype == "float64"):
    features, table, tokens, weights = make_inputs(dtype)
    kwargs = dict(law=law, chunk_size=chunk_size)
    (_, actual), gradients = weighted(
        log_probs.score_features, tokens, weights, **kwargs
    )(features, table)
    (_, expected), expected_gradients = weighted(
        materialised, tokens, weights, law=law
    )(features, table)
    tight = 1e-11 if dtype == "float64" else 1e-4
    for x, y in zip((*actual, *gradients), (*expected, *expected_gradients)):
      np.testing.assert_allclose(x, y, rtol=tight, atol=tight)


@functools.cache
def chunked(size):
  features, table, tokens, weights = make_inputs()
  return weighted(
      log_probs.score_features, tokens, weights, chunk_size=size
  )(features, table)


@pytest.mark.parametrize("chunk_size", [None, 4, 12])
def test_the_chunk_size_changes_nothing_but_rounding(chunk_size):
  found, expected = chunked(chunk_size), chunked(3)
  for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


@variants.every
def test_score_features_by_hand_with_a_masked_nan(variant):
  """Logits are the features themselves: the table is the identity."""
  probabilities = [
      [[0.5, 0.5], [0.8, 0.2], [np.nan, np.nan]],
      [[0.1, 0.9], [np.nan, 1.0], [0.25, 0.75]],
  ]
  features = jnp.asarray(np.log(probabilities), jnp.float32)
  tokens = jnp.array([[0, 1, 99], [1, -5, 0]])
  mask = jnp.array([[True, True, False], [True, False, True]])
  table = jnp.asarray(np.eye(2, dtype=np.float32))
  score = lambda f, t, m: log_probs.score_features(f, table, t, m)
  actual = variant(score)(features, tokens, mask)
  expected = np.log([[0.5, 0.2, 1.0], [0.9, 1.0, 0.25]])
  np.testing.assert_allclose(actual.log_probs, expected, rtol=1e-5, atol=1e-6)
  h = lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p)
  expected = [[h(0.5), h(0.2), 0.0], [h(0.9), 0.0, h(0.25)]]
  np.testing.assert_allclose(actual.entropies, expected, rtol=1e-5)


def test_masked_nan_features_do_not_reach_any_gradient():
  features, table, tokens, weights = make_inputs()
  mask = np.ones(tokens.shape, bool)
  mask[1, 2:] = False

  @jax.jit
  def grads(features, mask):
    def loss(features, table):
      scores = log_probs.score_features(features, table, tokens, mask)
      return jnp.sum(weights[0] * scores.log_probs)

    return jax.grad(loss, (0, 1))(features, table)

  features = np.asarray(features)
  clean = grads(features, mask)
  poisoned = grads(np.where(mask[..., None], features, np.nan), mask)
  np.testing.assert_array_equal(clean[0], poisoned[0])
  np.testing.assert_array_equal(clean[1], poisoned[1])
  np.testing.assert_array_equal(np.asarray(clean[0])[1, 2:], 0.0)
  assert np.any(np.asarray(clean[0])[1, :2] != 0)


def test_gradient_in_closed_form():
  """d log p(a) / d h = (u_a - sum_v p_v u_v) / temperature."""
  features, table, tokens, _ = make_inputs()
  law = SamplingLaw(0.6)
  score = lambda f: log_probs.score_features(
      f, table, tokens, law=law, chunk_size=5
  )
  slope = jax.grad(lambda f: jnp.sum(score(f).log_probs))
  grad = jax.jit(slope)(features)
  features, table = (np.asarray(x, np.float64) for x in (features, table))
  p = np.exp(features @ table.T / 0.6)
  p /= np.sum(p, -1, keepdims=True)
  expected = (table[np.asarray(tokens)] - p @ table) / 0.6
  np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-4)


def test_the_law_is_held_constant():
  features, table, tokens, _ = make_inputs()

  def loss(temperature, top_p, min_p):
    law = SamplingLaw(temperature, 0, top_p, min_p)
    scores = log_probs.score_features(features, table, tokens, law=law)
    return jnp.sum(scores.entropies)

  law = [jnp.float32(x) for x in (0.7, 0.9, 0.1)]
  assert jax.jit(jax.grad(loss, (0, 1, 2)))(*law) == (0.0, 0.0, 0.0)


def test_a_traced_law_scores_like_python_numbers():
  features, table, tokens, _ = make_inputs()
  score = lambda law: log_probs.score_features(features, table, tokens, law=law)
  traced = jax.jit(lambda *law: score(SamplingLaw(law[0], 9, *law[1:])))
  traced = traced(0.7, 0.9, 0.05)
  expected = jax.jit(score, static_argnums=0)(SamplingLaw(0.7, 9, 0.9, 0.05))
  np.testing.assert_allclose(traced.log_probs, expected.log_probs, rtol=1e-5)


def test_bfloat16_features_are_summed_in_float32():
  features, table, tokens, weights = make_inputs(jnp.bfloat16, width=64)
  actual = jax.jit(log_probs.score_features)(features, table, tokens)
  assert actual.log_probs.dtype == jnp.float32
  f, u = np.asarray(features, np.float64), np.asarray(table, np.float64)
  logits = f @ u.T
  top = logits.max(-1)
  total = np.log(np.exp(logits - top[..., None]).sum(-1)) + top
  chosen = np.take_along_axis(logits, np.asarray(tokens)[..., None], -1)[..., 0]
  np.testing.assert_allclose(actual.log_probs, chosen - total, atol=2e-4)
  _, grads = weighted(log_probs.score_features, tokens, weights)(
      features, table
  )
  assert [g.dtype for g in grads] == [jnp.bfloat16] * 2
  assert all(np.all(np.isfinite(np.asarray(g, "f"))) for g in grads)


def test_huge_logits_give_finite_gradients():
  features, table, tokens, weights = make_inputs()
  law = SamplingLaw(0.01, 5)
  _, grads = weighted(log_probs.score_features, tokens, weights, law=law)(
      100 * np.asarray(features), table
  )
  assert all(np.all(np.isfinite(np.asarray(g, "f"))) for g in grads)


@pytest.mark.parametrize("law", [SamplingLaw(), SamplingLaw(0.9, 50, 0.9)])
def test_no_array_of_batch_by_length_by_vocabulary(law):
  """Pain 29 (TRL #2598, verl #456): logits of a whole batch run out of memory.

  Looks at every array of the traced forward and backward pass, loops
  included, and at what the compiled program keeps.
  """
  rows, length, vocab_size = 4, 64, 2048
  features, table, tokens, weights = make_inputs(
      shape=(rows, length), vocab_size=vocab_size
  )
  compiled = {}
  for name, function in {
      "chunked": weighted(
          log_probs.score_features, tokens, weights, law=law, chunk_size=16
      ),
      "materialised": weighted(materialised, tokens, weights, law=law),
  }.items():
    lowered = function.lower(features, table)
    stats = lowered.compile().memory_analysis()
    sizes = array_sizes(jax.make_jaxpr(function)(features, table).jaxpr)
    compiled[name] = max(sizes), stats.temp_size_in_bytes
  assert compiled["materialised"][0] == rows * length * vocab_size
  # Nothing larger than a chunk, or than the table and its gradient.
  assert compiled["chunked"][0] <= vocab_size * 16
  assert 8 * compiled["chunked"][1] <= compiled["materialised"][1]


def array_sizes(jaxpr):
  for equation in jaxpr.eqns:
    for variable in equation.outvars:
      yield getattr(variable.aval, "size", 0)
    for value in equation.params.values():
      inner = value if isinstance(value, list | tuple) else [value]
      for each in inner:
        each = getattr(each, "jaxpr", each)
        if hasattr(each, "eqns"):
          yield from array_sizes(each)


def test_seeds_under_vmap_equal_single_runs():
  features, table, tokens, weights = make_inputs()
  table = np.asarray(table)
  tables = np.stack([table, 2 * table, -table])
  run = weighted(log_probs.score_features, tokens, weights, chunk_size=6)
  many = jax.vmap(run, in_axes=(None, 0))(features, tables)
  for i in range(3):
    one = run(features, tables[i])
    for x, y in zip(jax.tree.leaves(many), jax.tree.leaves(one)):
      np.testing.assert_allclose(x[i], y, rtol=1e-4, atol=1e-4)


def test_a_sharded_batch_gives_the_same_gradients():
  features, table, tokens, weights = make_inputs(shape=(8, 5))
  run = weighted(log_probs.score_features, tokens, weights, chunk_size=8)
  mesh = Mesh(np.array(jax.devices()), ("data",))
  place = NamedSharding(mesh, PartitionSpec("data"))
  placed = jax.device_put(features, place)
  for x, y in zip(
      jax.tree.leaves(run(placed, table)),
      jax.tree.leaves(run(features, table)),
  ):
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


def test_mismatched_arguments_are_named(no_jaxtyping):
  score = log_probs.score_features
  with pytest.raises(ValueError, match=r"'tokens': \(3,\)"):
    score(jnp.ones((4, 2)), jnp.ones((5, 2)), jnp.zeros(3, int))
  with pytest.raises(ValueError, match=r"unembedding must be \[V, D\]"):
    score(jnp.ones((4, 2)), jnp.ones((2, 5)), jnp.zeros(4, int))
  with pytest.raises(ValueError, match="chunk_size must be"):
    score(jnp.ones((4, 2)), jnp.ones((5, 2)), jnp.zeros(4, int), chunk_size=0)
  with pytest.raises(ValueError, match="top_p must be"):
    score(
        jnp.ones((4, 2)),
        jnp.ones((5, 2)),
        jnp.zeros(4, int),
        law=SamplingLaw(1.0, 0, 2.0),
    )
