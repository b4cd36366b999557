"""Features at a few positions, of sequences that share their beginning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import attention, lora, stacking, transformer
from tests.models.test_transformer import assert_same_gradient, make

# Heads, norms and RoPE as SmolLM2 has them, every width a quarter of its own.
SMOLLM2 = dict(
    width=144,
    num_layers=3,
    num_heads=9,
    num_kv_heads=3,
    mlp_width=384,
    rope_base=100_000.0,
    norm_epsilon=1e-5,
)
CASES = {
    "grouped": ("grouped", {}),
    "qwen3": ("qwen3", {}),
    "smollm2": ("plain", SMOLLM2),
    "remat": ("plain", dict(remat=True)),
    "scanned-remat": ("scanned", dict(remat=True)),
}
# Padding, a prefix of three (1) with two answers (2, 3), one sequence (4).
SEGMENTS = np.array([[9, 1, 1, 1, 2, 2, 3, 3, 3, 0, 4, 4], [5] * 12])
PARENTS = np.array([[9, 0, 0, 0, 1, 1, 1, 1, 1, 8, 0, 0], [0] * 12])
MASK = np.array([
    [0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1],  # padding inside an answer as well
    [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
], bool)
TOKENS = np.random.default_rng(7).integers(0, 19, MASK.shape)
# Each sequence alone: row, its places; what is read of it.
ALONE = [
    (0, [1, 2, 3, 4, 5], [4, 3]),
    (0, [1, 2, 3, 6, 8], [4]),
    (0, [10, 11], [1, 0]),
    (1, list(range(2, 10)), [7]),
]
# In the packed rows; the first row reads a place twice, the second padding.
READ = np.array([[5, 4, 8, 11, 10, 11], [9, 0, 0, 11, 0, 0]])
READ_MASK = np.array([[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]], bool)


def loss_of(model, weights):
  """Weighted sum of the features read, of parameters and rows."""

  def loss(params, mask, tokens, read, read_mask, *others):
    found = transformer.features(model, params, tokens, mask, *others, read)
    kept = jnp.where(read_mask[..., None], found, 0.0)
    return jnp.sum(weights * kept)

  return jax.jit(jax.value_and_grad(loss))


def alone():
  """The sequences in rows of their own, all 8 features of each gathered."""
  tokens, mask = np.zeros((4, 8), int), np.zeros((4, 8), bool)
  index = []
  for i, (row, places, read) in enumerate(ALONE):
    tokens[i, : len(places)] = TOKENS[row, places]
    mask[i, : len(places)] = True
    index += [(i, x) for x in read]
  return tokens, mask, np.array(index)


@pytest.mark.parametrize("case", CASES)
def test_shared_beginnings_and_few_reads_change_nothing(case):
  """Against whole sequences in rows of their own, gathered afterwards.

  Values and gradients in float64; ids of padding are poisoned.
  """
  name, more = CASES[case]
  model, params = make(name, **more)
  weights = np.random.default_rng(3).normal(size=(*READ.shape, model.width))
  poisoned = np.where(MASK, TOKENS, 10**6)
  tokens, mask, index = alone()

  def gathered(params, tokens, mask):
    found = transformer.features(model, params, tokens, mask)
    return jnp.sum(weights[READ_MASK] * found[index[:, 0], index[:, 1]])

  with jax.enable_x64(True):
    model = model.clone(dtype=jnp.float64)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    packed = loss_of(model, weights)
    found = (
        packed(params, MASK, poisoned, READ, READ_MASK, SEGMENTS, PARENTS),
        jax.jit(jax.value_and_grad(gathered))(params, tokens, mask),
    )
    for x, y in zip(*map(jax.tree.leaves, found)):
      np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)


def test_features_that_are_read_equal_those_of_all():
  """Of rows that know no segments; the order of `read` is kept."""
  model, params = make("grouped")
  whole = jax.jit(transformer.features, static_argnums=0)
  read = np.array([[11, 3, 3], [2, 9, 0]])
  every = whole(model, params, TOKENS, MASK)
  expected = np.take_along_axis(np.asarray(every), read[..., None], axis=1)
  some = whole(model, params, TOKENS, MASK, read=read)
  np.testing.assert_allclose(some, expected, atol=1e-5)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_adapters_are_trained_alike(scan_layers):
  """Gradients of low-rank updates, whose kernels are constant."""
  model, params = make("grouped", scan_layers=False)
  if scan_layers:
    params = stacking.stack_layers(params, model.num_layers)
    model = model.clone(scan_layers=True)
  low = jax.eval_shape(
      lambda p: lora.init_lora(jax.random.key(0), p, rank=2), params
  )
  draw = np.random.default_rng(5).normal
  low = jax.tree.map(lambda x: jnp.asarray(0.3 * draw(size=x.shape), x.dtype),
                     low)
  weights = draw(size=(*READ.shape, 16)).astype(np.float32)

  def total(low, gathers, read, *rows):
    adapted = lora.attach(params, low)
    if gathers:
      found = transformer.features(model, adapted, *rows)
      found = jnp.take_along_axis(found, read[..., None], axis=1)
    else:
      found = transformer.features(model, adapted, *rows, read)
    return jnp.sum(jnp.where(READ_MASK[..., None], weights * found, 0.0))

  @jax.jit
  def both(low, *rows):
    return [jax.value_and_grad(total)(low, x, *rows) for x in (False, True)]

  assert_same_gradient(*both(low, READ, TOKENS, MASK, SEGMENTS, PARENTS))


def test_the_last_layer_saves_what_is_not_read():
  """Operations that the compiler counts, against those of the kernels."""
  model, params = make("plain", width=32, mlp_width=64)
  rows = np.zeros((4, 64), int), np.ones((4, 64), bool)
  read = np.zeros((4, 1), int)
  features = jax.jit(transformer.features, static_argnums=0)
  flops = [
      features.lower(model, params, *rows, read=x).compile()
      .cost_analysis()["flops"]
      for x in (None, read)
  ]
  kernels = 2 * 32 * 32 + 3 * 32 * 64  # query, out; gate, up, down
  scores = 2 * 64 * 32
  saved = 2 * 4 * 63 * (kernels + scores)
  assert saved < flops[0] - flops[1] < 1.2 * saved


def test_who_may_read_whom_by_hand():
  """Of the packed row: prefix 1-3, answers 4-5 and 6, 8, another one 10-11."""
  args = (x[:1] for x in (MASK, SEGMENTS, PARENTS))
  allowed, positions = jax.jit(attention.own)(*args)
  reads = {t: np.flatnonzero(allowed[0, t]).tolist() for t in range(12)}
  assert reads[3] == [1, 2, 3] and reads[5] == [1, 2, 3, 4, 5]
  assert reads[6] == [1, 2, 3, 6] and reads[8] == [1, 2, 3, 6, 8]
  assert reads[10] == [10] and reads[11] == [10, 11]
  real = np.asarray(positions[0])[MASK[0]]
  assert real.tolist() == [0, 1, 2, 3, 4, 3, 4, 0, 1]


def test_parents_need_segments():
  model, params = make("plain")
  with pytest.raises(ValueError, match="Transformer: parents needs segments"):
    rows = map(jnp.asarray, (TOKENS, MASK))
    jax.eval_shape(
        lambda p, *x: transformer.features(model, p, *x, parents=x[0]),
        params,
        *rows,
    )
