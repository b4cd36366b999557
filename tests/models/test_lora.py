import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import divergences
from rewardjax.models import lora, transformer

PARAMS = {
    "a": {"kernel": np.arange(6.0).reshape(3, 2), "bias": np.ones(2)},
    "stack": {"kernel": np.ones((4, 3, 5))},
    "norm": {"scale": np.ones(3)},
}
PARAMS = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
TOKENS = np.array([[1, 2, 3, 4]])
MASK = np.ones(TOKENS.shape, bool)


@functools.cache
def adapted(scan_layers=False):
  """A model of one layer or a stack of two, its parameters and new adapters."""
  model = transformer.Transformer(
      11, 8, 1 + scan_layers, num_heads=2, mlp_width=12, scan_layers=scan_layers
  )

  @jax.jit
  def init(first, second, tokens, mask):
    params = model.init(first, tokens, mask)["params"]
    return params, lora.init_lora(second, params, rank=2)

  keys = jax.random.key(0), jax.random.key(1)
  return model, *init(*keys, TOKENS, MASK)


def features(model, params):
  return transformer.features(
      model, params, jnp.asarray(TOKENS), jnp.asarray(MASK)
  )


def test_shapes_and_counts():
  made = lora.init_lora(jax.random.key(0), PARAMS, rank=2)
  assert sorted(made) == ["a/kernel", "stack/kernel"]
  assert made["a/kernel"].down.shape == (3, 2)
  assert made["a/kernel"].up.shape == (2, 2)
  assert made["stack/kernel"].down.shape == (4, 3, 2)
  assert made["stack/kernel"].up.shape == (4, 2, 5)
  assert lora.count(PARAMS) == 6 + 2 + 60 + 3
  assert lora.count(made) == (3 + 2) * 2 + 4 * (3 + 5) * 2


def test_merge_by_hand():
  update = {
      "a/kernel": lora.LowRank(
          jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[10.0, 100.0]])
      )
  }
  merged = lora.merge(PARAMS, update, scale=0.5)
  expected = [[0 + 5, 1 + 50], [2 + 10, 3 + 100], [4 + 15, 5 + 150]]
  np.testing.assert_allclose(merged["a"]["kernel"], expected)
  np.testing.assert_array_equal(merged["a"]["bias"], PARAMS["a"]["bias"])
  assert jax.tree.structure(merged) == jax.tree.structure(PARAMS)


def test_each_layer_of_a_stack_gets_its_own_update():
  made = lora.init_lora(jax.random.key(0), PARAMS, rank=1)
  pair = made["stack/kernel"]
  made["stack/kernel"] = pair._replace(up=jnp.arange(20.0).reshape(4, 1, 5))
  merged = lora.merge(PARAMS, made)["stack"]["kernel"]
  for i in range(4):
    expected = 1 + np.outer(pair.down[i], np.arange(5) + 5 * i)
    np.testing.assert_allclose(merged[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_the_reference_is_the_frozen_base(scan_layers):
  """Pain 28 (TRL #3194, #495, unsloth-zoo #832): KL is 0 at step 0.

  Bit for bit, and the first gradient is not 0: it reaches `up`.
  """
  model, params, made = adapted(scan_layers)

  @jax.jit
  def logits(params):
    return transformer.logits(model, params, features(model, params))

  reference = logits(params)
  policy = logits(jax.jit(lora.merge)(params, made))
  np.testing.assert_array_equal(policy, reference)
  kl = jax.jit(divergences.categorical_kl)(policy, reference)
  np.testing.assert_array_equal(kl, 0.0)

  loss = lambda made: jnp.sum(logits(lora.merge(params, made))[..., 0])
  for pair in jax.jit(jax.grad(loss))(made).values():
    np.testing.assert_array_equal(pair.down, 0.0)
    assert np.any(pair.up != 0)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_attached_updates_are_the_merged_ones(scan_layers):
  """Values, and gradients of the adapters alone, which the merged way gets
  through matrices of the kernels' size."""
  model, params, made = adapted(scan_layers)
  noise = lambda x: x + 0.3 * np.sin(np.arange(x.size)).reshape(x.shape)
  made = jax.tree.map(lambda x: noise(x).astype(np.float32), made)
  weights = np.random.default_rng(2).normal(size=(1, 4, 8))

  def loss(made, put):
    return jnp.sum(weights * features(model, put(params, made)))

  put = {
      f: lambda p, m, f=f: f(p, m, scale=1.5) for f in (lora.attach, lora.merge)
  }
  (actual, grads), (expected, wanted) = (
      jax.jit(jax.value_and_grad(lambda m: loss(m, f)))(made)  # noqa: B023
      for f in put.values()
  )
  np.testing.assert_allclose(actual, expected, rtol=1e-4)
  for x, y in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted)):
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)


def test_seeds_share_one_copy_of_what_is_frozen():
  """Under vmap over adapters no operation has the batched kernel's shape."""
  model, params, made = adapted()
  made = jax.tree.map(lambda x: np.stack([x] * 3), made)

  def loss(made, put):
    return jnp.sum(features(model, put(params, made)))

  for put, shares in ((lora.attach, True), (lora.merge, False)):
    gradient = jax.vmap(jax.grad(lambda m: loss(m, put)))  # noqa: B023
    assert ("f32[3,8,12]" not in str(jax.make_jaxpr(gradient)(made))) == shares


def test_match_selects_by_path():
  made = lora.init_lora(
      jax.random.key(0), PARAMS, rank=1, match=lambda path: "stack" in path
  )
  assert list(made) == ["stack/kernel"]


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(rank=0), "rank must be"),
        (dict(rank=1, match=lambda path: False), "match must accept"),
        (dict(rank=1, match=lambda path: "norm" in path), "must be a matrix"),
    ],
)
def test_what_cannot_be_adapted_is_named(kwargs, message):
  with pytest.raises(ValueError, match=f"init_lora: .*{message}"):
    lora.init_lora(jax.random.key(0), PARAMS, **kwargs)


def test_adapters_of_another_model_are_refused():
  made = lora.init_lora(jax.random.key(0), PARAMS, rank=1)
  for put in (lora.attach, lora.merge):
    message = f"{put.__name__}: params must hold .'stack/"
    with pytest.raises(ValueError, match=message):
      put({"a": PARAMS["a"]}, made)
