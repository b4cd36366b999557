import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import attention
from rewardjax.models.attention import KeyValue


def as_slots(x):
  """One head, one branch: [B, N, G, T, H] from a list of numbers."""
  return jnp.asarray(x, jnp.float32).reshape(1, 1, 1, -1, 1)


def program(attend, weights):
  """Weighted sum of what is read, and its gradients, of queries and keys."""
  loss = lambda *x: jnp.sum(weights * attend(*x))
  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def test_attention_weighs_values_by_hand():
  """Scores log 1 and log 3 against two slots: weights 1/4 and 3/4."""
  own = KeyValue(as_slots(np.log([1, 3, 9])), as_slots([4, 8, 1e6]))
  allowed = jnp.array([[[[True, True, False]]]])
  queries = jnp.ones((1, 2, 1, 1, 1))  # two heads read one
  actual = attention.mix(queries, own, allowed)
  np.testing.assert_allclose(actual.ravel(), [7.0, 7.0], rtol=1e-6)


def test_values_and_gradients_are_those_of_a_softmax():
  """Against `jax.nn.softmax` in float64, of keys copied for every head."""
  draw = np.random.default_rng(3).normal
  queries = draw(size=(2, 4, 1, 5, 6))
  own = KeyValue(*(draw(size=(2, 2, 1, 5, 6)) for _ in range(2)))
  causal = np.tril(np.ones((5, 5), bool))
  allowed = np.broadcast_to(causal, (2, 1, 5, 5))
  weights = draw(size=queries.shape)

  def plain(queries, own):
    keys, values = (jnp.repeat(x, 2, axis=1) for x in own)
    scores = jnp.einsum("bngth,bngsh->bngts", queries, keys) / np.sqrt(6)
    chances = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bngts,bngsh->bngth", chances, values)

  with jax.enable_x64(True):
    ours = lambda *x: attention.mix(*x, jnp.asarray(allowed))
    found = [program(f, weights)(queries, own) for f in (ours, plain)]
    for x, y in zip(*map(jax.tree.leaves, found)):
      assert x.dtype == jnp.float64
      np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


def test_a_shared_prompt_joins_the_same_softmax():
  """Weights 1, 3 (own) and 4 (prompt) of 8; a masked prompt slot is out."""
  own = KeyValue(as_slots(np.log([1, 3])), as_slots([8, 16]))
  prompt = KeyValue(as_slots(np.log([4, 50])), as_slots([24, 1e6]))
  actual = attention.mix(
      jnp.ones((1, 1, 1, 1, 1)),
      own,
      jnp.ones((1, 1, 1, 2), bool),
      prompt,
      jnp.array([[True, False]]),
  )
  np.testing.assert_allclose(actual.ravel(), [1 + 6 + 12], rtol=1e-6)


def test_a_query_that_may_read_nothing_is_finite():
  own = KeyValue(as_slots([4, 8]), as_slots([4, 8]))
  nothing = jnp.zeros((1, 1, 1, 2), bool)
  f = lambda q: jnp.sum(attention.mix(q, own, nothing))
  one = np.ones((1, 1, 1, 1, 1), np.float32)
  value, grad = jax.jit(jax.value_and_grad(f))(one)
  assert value == 6.0 and grad == 0.0


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_sharing_equals_a_copy_of_the_prompt_for_each_branch(kv_heads):
  """Values and gradients; scores of any size stay finite."""
  draw = np.random.default_rng(0).normal
  normal = lambda *shape: 5 * draw(size=shape).astype(np.float32)
  queries = normal(2, 4, 3, 5, 6)
  own = KeyValue(*(normal(2, kv_heads, 3, 5, 6) for _ in range(2)))
  prompt = KeyValue(*(normal(2, kv_heads, 1, 7, 6) for _ in range(2)))
  stem = jnp.asarray(np.arange(7) >= np.array([[0], [3]]))
  causal = np.tril(np.ones((5, 5), bool))
  allowed = jnp.asarray(np.broadcast_to(causal, (2, 3, 5, 5)))

  def shared(queries, own, prompt):
    return attention.mix(queries, own, allowed, prompt, stem)

  def copied(queries, own, prompt):
    wide = jax.tree.map(lambda x: jnp.repeat(x, 3, axis=2), prompt)
    both = KeyValue(
        *(jnp.concatenate(pair, axis=3) for pair in zip(wide, own))
    )
    see = jnp.broadcast_to(stem[:, None, None], (2, 3, 5, 7))
    return attention.mix(queries, both, jnp.concatenate([see, allowed], 3))

  weights = normal(*queries.shape)

  @jax.jit
  def both(*arrays):
    loss = lambda f: lambda *x: jnp.sum(weights * f(*x))
    find = lambda f: jax.value_and_grad(loss(f), argnums=(0, 1, 2))(*arrays)
    return find(shared), find(copied)

  found = both(queries, own, prompt)
  for x, y in zip(*map(jax.tree.leaves, found)):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("length, share", [(1, 1), (65, 1), (250, 5 / 8)])
def test_pieces_that_end_early_read_what_is_allowed(length, share):
  """Against all scores of all tokens: values, gradients and operations.

  `share` of the scores is computed.
  """
  draw = np.random.default_rng(1).normal
  normal = lambda *shape: draw(size=shape).astype(np.float32)
  queries = normal(2, 4, 2, length, 6)
  own = KeyValue(*(normal(2, 2, 2, length, 6) for _ in range(2)))
  prompt = KeyValue(*(normal(2, 2, 1, 3, 6) for _ in range(2)))
  stem = jnp.array([[True, False, True], [False, True, True]])
  seen = np.random.default_rng(2).uniform(size=(2, 2, length, length)) < 0.7
  allowed = jnp.asarray(np.tril(seen | np.eye(length, dtype=bool)))
  weights = normal(*queries.shape)

  pieces, whole = (
      program(lambda *x, f=f: f(*x, allowed, prompt, stem), weights)
      for f in (attention.mix_causal, attention.mix)
  )
  found = pieces(queries, own), whole(queries, own)
  for x, y in zip(*map(jax.tree.leaves, found)):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)
  flops = [
      f.lower(queries, own).compile().cost_analysis()["flops"]
      for f in (pieces, whole)
  ]
  assert flops[0] / flops[1] < share + 0.1
