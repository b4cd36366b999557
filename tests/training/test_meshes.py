"""One update on meshes of every kind: the same numbers, to rounding.

Pain 33 (orbax #648) and the budget "1 device against 8: equal loss and
gradients". Sampled tokens are equal too, until a rounding error is large
enough to move one draw: runs part then, late, as two libraries would.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rewardjax.core import collectives
from rewardjax.models import incremental, lora, transformer
from rewardjax.policies import decoding, log_probs
from rewardjax.recipes import policy_gradient
from rewardjax.training import mesh as meshes
from rewardjax.training.state import init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Reward

# Momentum, not Adam, whose first step is the sign of rounding errors.
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
MODEL = dict(vocab_size=16, width=16, num_layers=1, num_heads=4, mlp_width=32)
# Every way to lay out parameters, and to use the axes: the rows alone, the
# parameters alone, both.
CASES = {
    "grouped, all layers in one array": (
        dict(num_kv_heads=2, scan_layers=True),
        [(8, 1, 1), (2, 2, 2)],
    ),
    "adapters, one head of keys": (
        dict(num_kv_heads=1, tied=False),
        [(1, 2, 2)],
    ),
}


@functools.cache
def batch_and_params(model):
  prompts = jnp.arange(32).reshape(8, 4) % 15
  mask = jnp.arange(4)[None] >= (jnp.arange(8) % 3)[:, None]
  init = jax.jit(lambda: model.init(jax.random.key(0), prompts, mask)["params"])
  return (prompts, mask), init()


def update_of(model, sizes, adapters):
  """Samples, verifies and learns once; metrics, rollouts and parameters."""
  mesh = meshes.make_mesh(*sizes, devices=jax.devices()[: np.prod(sizes)])
  rules = meshes.shard_rules(model.per_head)
  batch, params = batch_and_params(model)
  frozen = {}
  if adapters:
    frozen = meshes.shard_tree(params, mesh, rules, min_size=1)
    params = lora.init_lora(jax.random.key(1), params, rank=2)
    params = jax.tree.map(lambda x: x + 0.05, params)

  def step(state, frozen, prompts, mask):
    merge = lambda x: lora.merge(frozen, x) if adapters else x
    rollouts = decoding.sample(
        jax.random.key(2),
        incremental.decoder(model),
        merge(state.params),
        prompts,
        mask,
        num_samples=4,
        max_new_tokens=3,
        stop_tokens=(3,),
    )
    even = jnp.mean((rollouts.tokens % 2 == 0).astype(jnp.float32), -1)
    reward = Reward(even, jnp.ones(even.shape, bool))

    def loss_fn(params, batch, key):
      del key
      rollouts, reward = batch
      params = merge(params)
      features = transformer.completion_features(model, params, *rollouts[:4])
      table = transformer.unembedding(model, params)
      scores = log_probs.score_features(
          features, table, rollouts.tokens, rollouts.mask
      )
      return policy_gradient.grpo(scores.log_probs, rollouts, reward)

    update = make_train_step(loss_fn, OPTIMIZER)
    state, metrics = update(state, (rollouts, reward), jax.random.key(0))
    return state, metrics, rollouts

  state = init_state(params, OPTIMIZER)
  state = meshes.shard_tree(state, mesh, rules, min_size=1)
  batch = meshes.shard_batch(batch, mesh)
  compiled = jax.jit(meshes.within(mesh, step))
  return jax.device_get(compiled(state, frozen, *batch))


@pytest.mark.parametrize("case", CASES)
def test_sampling_and_updates_are_those_of_one_device(case):
  fields, others = CASES[case]
  model = transformer.Transformer(**MODEL, **fields)
  adapters = case.startswith("adapters")
  expected = update_of(model, (1, 1, 1), adapters)
  assert expected[1]["grad_norm"] > 1e-3
  for sizes in others:
    assert_same(update_of(model, sizes, adapters), expected)


def assert_same(actual, expected):
  (other, other_metrics, other_rollouts) = actual
  (state, metrics, rollouts) = expected
  close = lambda *trees: chex.assert_trees_all_close(
      *trees, rtol=1e-5, atol=1e-6
  )
  np.testing.assert_array_equal(other_rollouts.tokens, rollouts.tokens)
  close(other_rollouts.log_probs, rollouts.log_probs)
  close(other_metrics, metrics)
  # The momentum is the gradient.
  close(other.opt_state, state.opt_state)
  close(other.params, state.params)


def specs(tree, mesh, head_dim=1):
  placed = meshes.shardings(
      tree, mesh, meshes.shard_rules(head_dim), min_size=1
  )
  return {
      meshes.path_name(path): tuple(x.spec)
      for path, x in jax.tree_util.tree_leaves_with_path(placed)
  }


def test_adapters_and_their_moments_are_split_as_their_kernels():
  model = transformer.Transformer(
      **MODEL, num_kv_heads=2, scan_layers=True, tied=False
  )
  tokens = jnp.zeros((1, 2), jnp.int32)

  def init():
    params = model.init(jax.random.key(0), tokens, tokens == 0)["params"]
    adapters = lora.init_lora(jax.random.key(0), params, rank=2)
    return params, init_state(adapters, optax.adam(1.0))

  params, state = jax.eval_shape(init)
  mesh = meshes.make_mesh(2, 2, 2)
  base, found = specs(params, mesh, 4), specs(state, mesh, 4)
  assert base["embedding"] == (None, ("fsdp", "tensor"))
  assert base["unembedding"] == (None, ("fsdp", "tensor"))
  assert base["layers/mlp/up/kernel"] == (None, "fsdp", "tensor")
  assert base["layers/attention/out/kernel"] == (None, "tensor", "fsdp")
  for where in ("params", "opt_state/0/mu", "opt_state/0/nu"):
    at = lambda name: found[f"{where}/layers/{name}"]  # noqa: B023
    assert at("mlp/up/kernel/up") == (None, "fsdp", "tensor")
    assert at("mlp/up/kernel/down") == (None, "fsdp")
    assert at("mlp/down/kernel/down") == (None, "tensor", "fsdp")
    assert at("attention/query/kernel/up") == (None, "fsdp", "tensor")


def test_heads_are_never_cut():
  mesh = meshes.make_mesh(1, 2, 4)
  of = lambda name, shape, head_dim: meshes.leaf_spec(
      name, shape, mesh, meshes.shard_rules(head_dim), 1
  )
  # Three heads of 64 channels: 192 divides by 4, the heads do not.
  assert tuple(of("key/kernel", (576, 192), 64)) == ("fsdp",)
  assert tuple(of("key/kernel", (576, 192), 1)) == ("fsdp", "tensor")
  assert tuple(of("out/kernel", (192, 576), 64)) == (None, "fsdp")
  assert tuple(of("query/kernel", (576, 256), 64)) == ("fsdp", "tensor")
  assert tuple(of("up/kernel", (576, 192), 64)) == ("fsdp", "tensor")


def test_models_within_a_mesh_keep_rows_where_they_are():
  mesh = meshes.make_mesh(2, 2, 2)
  placed = jax.device_put(
      jnp.ones((8, 16)), jax.sharding.NamedSharding(mesh, jax.P(None, "fsdp"))
  )
  keep = meshes.within(mesh, collectives.keep_rows)
  kept = jax.jit(keep)(placed)
  assert kept.sharding.shard_shape(kept.shape) == (2, 16)
  # Outside of it, and where rows do not divide, nothing is asked for.
  for function, x in ((collectives.keep_rows, placed), (keep, placed[:6])):
    assert "sharding_constraint" not in str(jax.make_jaxpr(function)(x))
  mapped = jax.jit(meshes.within(mesh, jax.vmap(collectives.keep_rows)))
  np.testing.assert_array_equal(mapped(jnp.ones((3, 8, 2))), 1)
