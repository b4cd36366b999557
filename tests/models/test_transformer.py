import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import packing
from rewardjax.models import incremental, stacking, transformer
from rewardjax.policies import decoding, log_probs
from rewardjax.policies.laws import SamplingLaw
from tests.models import reference

PLAIN = dict(vocab_size=19, width=16, num_layers=2, num_heads=4, mlp_width=24)
OPTIONS = {
    "plain": {},
    "grouped": dict(num_kv_heads=2, tied=False, qkv_bias=True),
    "qwen3": dict(num_kv_heads=1, head_dim=6, qk_norm=True, rope_base=100.0),
    "scanned": dict(num_kv_heads=2, scan_layers=True),
}
TOKENS = jax.random.randint(jax.random.key(1), (3, 7), 0, 19)
# A full row, one padded left and right, and one with nothing in it.
MASK = jnp.array([[1] * 7, [0, 0, 1, 1, 1, 1, 0], [0] * 7], bool)


@functools.cache
def make(name, **more):
  model = transformer.Transformer(**PLAIN | OPTIONS[name] | more)
  params = jax.jit(model.init)(jax.random.key(0), TOKENS, MASK)["params"]
  # Biases and norm scales start at constants, which would hide mistakes.
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(2), len(leaves))
  noisy = jax.jit(
      lambda leaves, keys: [
          x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves)
      ]
  )
  return model, jax.tree.unflatten(tree, noisy(leaves, keys))


@functools.partial(jax.jit, static_argnums=0)
def features(model, params, tokens=TOKENS, mask=MASK):
  return transformer.features(model, params, tokens, mask)


def unrolled(model, params):
  if model.scan_layers:
    params = stacking.unstack_layers(params, model.num_layers)
  return params


@pytest.mark.parametrize("name", OPTIONS)
def test_features_equal_a_float64_reference(name):
  """Half-rotation RoPE, grouped heads, biases, norms, SwiGLU."""
  model, params = make(name)
  exact = jax.tree.map(
      lambda x: np.asarray(x, np.float64), unrolled(model, params)
  )
  actual = features(model, params)
  for row in range(2):
    real = np.asarray(MASK[row])
    expected = reference.forward(model, exact, np.asarray(TOKENS[row])[real])
    np.testing.assert_allclose(actual[row][real], expected, atol=2e-5)


def test_parameters_are_counted_by_hand():
  model, params = make("grouped")
  attention = 16 * (16 + 8 + 8) + (16 + 8 + 8) + 16 * 16
  layer = attention + 3 * 16 * 24 + 2 * 16
  expected = 2 * 19 * 16 + 2 * layer + 16
  assert sum(x.size for x in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize("name", OPTIONS)
def test_what_padding_holds_never_matters(name):
  """Pain 27 (maxtext #4015): padding was attended as real tokens.

  Ids outside the vocabulary included; all features are equal, to the bit.
  """
  model, params = make(name)
  clean = features(model, params)
  assert jnp.all(jnp.isfinite(clean))
  for poison in (0, 18, -1, 10**6):
    poisoned = jnp.where(MASK, TOKENS, poison)
    np.testing.assert_array_equal(clean, features(model, params, poisoned))


@pytest.mark.parametrize("name", OPTIONS)
def test_how_much_padding_stands_around_never_matters(name):
  model, params = make(name)
  alone = features(model, params, TOKENS[:1], MASK[:1])
  padded = jnp.pad(TOKENS[:1], ((0, 0), (3, 2)), constant_values=5)
  mask = jnp.pad(MASK[:1], ((0, 0), (3, 2)))
  actual = features(model, params, padded, mask)[:, 3:-2]
  np.testing.assert_allclose(actual, alone, atol=1e-5)


def test_later_tokens_do_not_reach_earlier_features():
  model, params = make("plain")
  changed = TOKENS.at[0, 4].add(1)
  before, after = features(model, params), features(model, params, changed)
  np.testing.assert_array_equal(before[0, :4], after[0, :4])
  assert jnp.all(jnp.any(before[0, 4:] != after[0, 4:], axis=-1))


@pytest.mark.parametrize("name", OPTIONS)
def test_decoding_equals_the_full_forward_pass(name):
  """Prefill of left-padded prompts, then steps, against one pass."""
  model, params = make(name)
  prompts, mask = TOKENS[:2, :4], MASK[:2, :4]
  rest = TOKENS[:2, 4:]
  decoder = incremental.decoder(model)
  logits, cache = jax.jit(decoder.prefill, static_argnums=3)(
      params, prompts, mask, 9
  )
  cache = decoder.repeat(cache, 2)
  rows = [jnp.repeat(logits, 2, axis=0)]
  for t in range(3):
    tokens = jnp.repeat(rest[:, t], 2)
    logits, cache = jax.jit(decoder.step)(params, tokens, cache)
    rows.append(logits)
  full = features(
      model,
      params,
      TOKENS[:2],
      jnp.concatenate([mask, jnp.ones((2, 3), bool)], 1),
  )
  expected = transformer.logits(model, params, full)[:, 3:]
  actual = jnp.stack(rows, axis=1)
  np.testing.assert_allclose(actual, jnp.repeat(expected, 2, axis=0), atol=2e-5)


def grouped_rows(prompts, prompt_mask, tokens, mask):
  """Every completion behind a prompt of its own: [B * G, P + T]."""
  group = tokens.shape[1]
  join = lambda prompt, new: jnp.concatenate(
      [jnp.repeat(prompt, group, 0), new.reshape(-1, new.shape[-1])], axis=1
  )
  return join(prompts, tokens), join(prompt_mask, mask)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_shared_prompt_changes_neither_features_nor_gradients(name, length):
  """Against every completion behind its own copy of the prompt.

  Ids of padding are poisoned; the last token is never read.
  """
  model, params = make(name)
  tokens = jax.random.randint(jax.random.key(4), (3, 4, length), 0, 19)
  lengths = jnp.array([length, 3, 1, 2])[:, None]
  mask = jnp.arange(length)[None] < lengths
  mask = jnp.broadcast_to(mask, tokens.shape)
  prompt_mask = MASK.at[1, -1].set(True)  # prompts are padded left
  given = jnp.where(prompt_mask, TOKENS, 10**6)
  weights = jax.random.normal(jax.random.key(5), (*tokens.shape, 16))
  weigh = lambda x: jnp.sum(jnp.where(mask[..., None], weights * x, 0.0)[:2])

  def shared(params):
    return transformer.completion_features(
        model, params, given, prompt_mask, jnp.where(mask, tokens, -7), mask
    )

  def copied(params):
    rows = grouped_rows(TOKENS, prompt_mask, tokens, mask)
    hidden = transformer.features(model, params, *rows)[:, 6:-1]
    return hidden.reshape(*tokens.shape, -1)

  find = lambda f: jax.jit(jax.value_and_grad(lambda p: weigh(f(p))))(params)
  (value, actual), (wanted, expected) = find(shared), find(copied)
  np.testing.assert_allclose(value, wanted, rtol=1e-4)
  for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_packed_rows_equal_rows_of_their_own(name):
  """Three sequences in one row, padding between and inside them."""
  model, params = make(name)
  segments = jnp.array([[0, 0, 0, 1, 1, 2, 2, 2, 9, 9]])
  mask = jnp.array([[1, 1, 1, 0, 1, 1, 0, 1, 0, 0]], bool)
  tokens = jnp.arange(10)[None] + 3
  weights = jax.random.normal(jax.random.key(5), (10, 16))
  weigh = lambda x, w, m: jnp.sum(jnp.where(m[..., None], w * x, 0.0))

  def packed(params):
    found = transformer.features(model, params, tokens, mask, segments)
    return weigh(found, weights[None], mask)

  def alone(params):
    total = 0.0
    for start, end in ((0, 3), (3, 5), (5, 8)):
      part = slice(start, end)
      rows = tokens[:, part], mask[:, part]
      found = transformer.features(model, params, *rows)
      total += weigh(found, weights[None, part], rows[1])
    return total

  find = lambda f: jax.jit(jax.value_and_grad(f))(params)
  (value, actual), (wanted, expected) = find(packed), find(alone)
  np.testing.assert_allclose(value, wanted, rtol=1e-4)
  for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_packed_completions_equal_padded_ones(name):
  """Four completions in two rows of eight, values and gradients."""
  model, params = make(name)
  lengths = jnp.array([[5, 1, 3, 2], [4, 4, 0, 6]])
  tokens = jax.random.randint(jax.random.key(4), (2, 4, 6), 0, 19)
  mask = jnp.arange(6)[None, None] < lengths[..., None]
  prompts = (TOKENS[:2], MASK[:2].at[1, -1].set(True))
  weights = jax.random.normal(jax.random.key(5), (*tokens.shape, 16))
  plan = packing.first_fit(lengths, lanes=2, room=8, width=6)
  assert jnp.all(plan.fits)

  def padded(params):
    return transformer.completion_features(
        model, params, *prompts, tokens, mask
    )

  def packed(params):
    rows = packing.pack(plan, jnp.where(mask, tokens, 10**6))
    found = transformer.completion_features(
        model, params, *prompts, rows, plan.mask, plan.segments
    )
    back = jax.vmap(lambda x: packing.unpack(plan, x, 6), -1, -1)
    return back(found)

  weigh = lambda x: jnp.sum(jnp.where(mask[..., None], weights * x, 0.0))
  find = lambda f: jax.jit(jax.value_and_grad(lambda p: weigh(f(p))))(params)
  (value, actual), (wanted, expected) = find(packed), find(padded)
  np.testing.assert_allclose(value, wanted, rtol=1e-4)
  for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


def test_selected_rows_decode_as_before():
  """Some branches go on alone, each with a copy of its prompt."""
  model, params = make("grouped")
  decoder = incremental.decoder(model)
  prompt_mask = MASK[:2].at[1, -1].set(True)
  _, cache = decoder.prefill(params, TOKENS[:2], prompt_mask, 12)
  cache = decoder.repeat(cache, 3)
  first, second = jnp.arange(6), jnp.arange(6) + 7
  _, cache = decoder.step(params, first, cache)
  expected, _ = decoder.step(params, second, cache)
  rows = jnp.array([4, 1, 5])
  some = decoder.select(cache, rows)
  actual, some = decoder.step(params, second[rows], some)
  np.testing.assert_allclose(actual, expected[rows], atol=1e-5)
  # And again, from branches that stand alone already.
  alone = decoder.select(some, jnp.array([1]))
  again, _ = decoder.step(params, first[1:2], alone)
  last, _ = decoder.step(params, first[:3], some)
  np.testing.assert_allclose(again[0], last[1], atol=1e-5)


@pytest.mark.parametrize("law", [SamplingLaw(0.7), SamplingLaw(1.0, 5, 0.9)])
def test_sampler_and_scorer_agree_at_the_first_update(law):
  """Pain 11 (verl #2996, Tunix #2129): two forward passes drift apart."""
  model, params = make("grouped")
  rollouts = jax.jit(
      lambda key: decoding.sample(
          key,
          incremental.decoder(model),
          params,
          TOKENS[:2],
          MASK[:2],
          num_samples=4,
          max_new_tokens=6,
          stop_tokens=(3,),
          law=law,
      )
  )(jax.random.key(5))
  rows = lambda x: x.reshape(8, *x.shape[2:])
  join = lambda prompt, new: jnp.concatenate(
      [jnp.repeat(prompt, 4, axis=0), rows(new)], axis=1
  )
  tokens = join(rollouts.prompts, rollouts.tokens)
  mask = join(rollouts.prompt_mask, rollouts.mask)
  hidden = features(model, params, tokens[:, :-1], mask[:, :-1])[:, 6:]
  scores = log_probs.score_features(
      hidden,
      transformer.unembedding(model, params),
      rows(rollouts.tokens),
      rows(rollouts.mask),
      law=law,
  )
  np.testing.assert_allclose(
      scores.log_probs, rows(rollouts.log_probs), atol=1e-4
  )


def test_completion_features_stand_one_position_before_their_token():
  """Against rows put together by hand; changing a token leaves its own."""
  model, params = make("plain")
  prompts, prompt_mask = TOKENS[:2, :3], jnp.array([[1, 1, 1], [0, 1, 1]]) > 0
  new = jnp.array([[[4, 5], [6, 7]], [[8, 9], [10, 3]]])
  mask = jnp.ones(new.shape, bool)
  actual = transformer.completion_features(
      model, params, prompts, prompt_mask, new, mask
  )
  for b, start in ((0, 0), (1, 1)):
    for g in range(2):
      row = jnp.concatenate([prompts[b, start:], new[b, g, :1]])[None]
      alone = features(model, params, row, jnp.ones(row.shape, bool))
      np.testing.assert_allclose(actual[b, g], alone[0, -2:], atol=1e-5)
  changed = transformer.completion_features(
      model, params, prompts, prompt_mask, new.at[0, 0, 1].set(11), mask
  )
  np.testing.assert_array_equal(changed, actual)


@pytest.mark.parametrize(
    "sizes, message",
    [
        (dict(num_kv_heads=3), "num_heads must be a multiple of 3"),
        (dict(width=18), "width must be a multiple of 4"),
        (dict(head_dim=5), "head_dim must be a multiple of 2"),
    ],
)
def test_sizes_that_do_not_divide_are_named(sizes, message):
  model = transformer.Transformer(**PLAIN | sizes)
  with pytest.raises(ValueError, match=f"Transformer: {message}"):
    jax.eval_shape(model.init, jax.random.key(0), TOKENS, MASK)


def loss_and_gradient(model, params):
  weights = jax.random.normal(jax.random.key(3), (*TOKENS.shape, 16))

  def loss(params):
    hidden = transformer.features(model, params, TOKENS, MASK)
    return jnp.sum(jnp.where(MASK[..., None], weights * hidden, 0.0))

  return jax.jit(jax.value_and_grad(loss))(params)


def test_scanned_unrolled_and_rematerialised_layers_are_one_function():
  model, params = make("plain")
  expected, gradient = loss_and_gradient(model, params)
  stack = lambda tree: stacking.stack_layers(tree, model.num_layers)
  for scan in (False, True):
    for remat in (False, True):
      other = model.clone(scan_layers=scan, remat=remat)
      own = stack(params) if scan else params
      made = jax.eval_shape(other.init, jax.random.key(0), TOKENS, MASK)
      shapes = lambda tree: jax.tree.map(jnp.shape, tree)
      assert shapes(made["params"]) == shapes(own)
      value, actual = loss_and_gradient(other, own)
      np.testing.assert_allclose(value, expected, rtol=1e-5)
      wanted = stack(gradient) if scan else gradient
      for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted)):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


def test_stacking_and_unstacking_layers_are_inverse():
  _, params = make("plain")
  back = stacking.unstack_layers(stacking.stack_layers(params, 2), 2)
  assert jax.tree.structure(back) == jax.tree.structure(params)
  for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(params)):
    np.testing.assert_array_equal(x, y)


def test_masked_positions_have_no_gradient():
  """A row without a real token gives 0, not NaN, to every parameter."""
  model, params = make("plain")
  mask = jnp.zeros_like(MASK)

  def loss(params):
    hidden = transformer.features(model, params, TOKENS, mask)
    return jnp.sum(jnp.where(mask[..., None], hidden, 0.0))

  for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
    np.testing.assert_array_equal(leaf, 0.0)


def test_bfloat16_computes_narrow_and_emits_float32_logits():
  model, params = make("grouped", dtype=jnp.bfloat16)
  wide, _ = make("grouped")
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))
  hidden = features(model, params)
  assert hidden.dtype == jnp.bfloat16
  logits = transformer.logits(model, params, hidden)
  assert logits.dtype == jnp.float32
  expected = transformer.logits(wide, params, features(wide, params))
  error = jnp.abs(logits - expected)[MASK]
  assert jnp.max(error) < 0.05 * jnp.max(jnp.abs(expected))


@pytest.mark.parametrize("name", ["plain", "scanned"])
def test_the_cache_is_written_in_place(name):
  """No copy of a layer's cache inside the compiled loop, seeds mapped or not.

  Caches that pass through `scan` as stacked outputs, or a mapped loop
  condition, copy the whole cache at every token.
  """
  model, params = make(name)
  run = lambda key: decoding.sample(
      key,
      incremental.decoder(model),
      params,
      TOKENS,
      MASK,
      num_samples=5,
      max_new_tokens=30,
      stop_tokens=(3,),
  )
  heads = model.num_kv_heads or model.num_heads
  shape = f"3,{heads},5,30,4"
  keys = jax.random.split(jax.random.key(0), 2)
  for text in (
      jax.jit(run).lower(keys[0]).compile().as_text(),
      jax.jit(jax.vmap(run)).lower(keys).compile().as_text(),
  ):
    # A body is named in `while(..., body=%name)` and starts with `%name (`.
    names = set(re.findall(r"body=(%[\w.\-]+)", text))
    bodies = [b for b in text.split("\n\n") if b.split(" ")[0] in names]
    assert any(shape in body for body in bodies)
    for line in "\n".join(bodies).splitlines():
      copied = re.search(rf"{shape}\]\S* (copy|select|scatter)\(", line)
      assert not copied, line
