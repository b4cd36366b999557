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
# What follows from a second layer is seen in the first and the last.
OPTIONS = {
    "plain": {},
    "grouped": dict(num_layers=1, num_kv_heads=2, tied=False, qkv_bias=True),
    "qwen3": dict(
        num_layers=1, num_kv_heads=1, head_dim=6, qk_norm=True, rope_base=100.0
    ),
    "scanned": dict(num_kv_heads=2, scan_layers=True),
}
TOKENS = np.random.default_rng(1).integers(0, 19, (3, 7))
# A full row, one padded left and right, and one with nothing in it.
MASK = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 0], [0] * 7], bool)
# The same as a prompt, which is padded left.
PROMPT_MASK = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1], [0] * 7], bool)


@functools.cache
def make(name, **more):
  """Drawn in NumPy: biases and norm scales that differ hide no mistake."""
  model = transformer.Transformer(**PLAIN | OPTIONS[name] | more)
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS, MASK)
  draw = np.random.default_rng(2).normal

  def leaf(path, like):
    center = 1.0 if path[-1].key == "scale" else 0.0
    return jnp.asarray(center + 0.35 * draw(size=like.shape), like.dtype)

  return model, jax.tree.map_with_path(leaf, shapes["params"])


_features = jax.jit(transformer.features, static_argnums=0)
_logits = jax.jit(transformer.logits, static_argnums=0)
_completion_features = jax.jit(
    transformer.completion_features, static_argnums=0
)


def features(model, params, tokens=TOKENS, mask=MASK):
  return np.asarray(_features(model, params, tokens, mask))


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


@pytest.mark.parametrize("name", ["grouped", "qwen3", "scanned"])
def test_gradients_are_slopes_of_the_float64_reference(name):
  """Central differences of it, along one direction of each parameter."""
  model, params = make(name)
  real = np.asarray(MASK[1])
  tokens = np.asarray(TOKENS[1])[real]
  draw = np.random.default_rng(6).normal
  weights = draw(size=(len(tokens), model.width))
  wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

  def reference_loss(params):
    found = reference.forward(model, unrolled(model, params), tokens)
    return np.sum(weights * found)

  def loss(params, tokens, mask):
    found = transformer.features(model, params, tokens, mask)
    return jnp.sum(weights * found[0][real])

  with jax.enable_x64(True):
    model = model.clone(dtype=jnp.float64)
    rows = TOKENS[1:2], MASK[1:2]
    gradient = jax.jit(jax.grad(loss))(wide, *rows)
  leaves, structure = jax.tree.flatten(wide)

  def slope(i, direction):
    step = 1e-5 * direction
    low, high = (
        reference_loss(
            structure.unflatten([*leaves[:i], x, *leaves[i + 1 :]])
        )
        for x in (leaves[i] - step, leaves[i] + step)
    )
    return (high - low) / 2e-5

  for i, found in enumerate(jax.tree.leaves(gradient)):
    direction = draw(size=found.shape)
    actual = np.sum(np.asarray(found) * direction)
    expected = slope(i, direction)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_parameters_are_counted_by_hand():
  model, params = make("grouped", num_layers=2)
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
  assert np.all(np.isfinite(clean))
  for poison in (0, 18, -1, 10**6):
    poisoned = np.where(MASK, TOKENS, poison)
    np.testing.assert_array_equal(clean, features(model, params, poisoned))


@pytest.mark.parametrize("name", OPTIONS)
def test_how_much_padding_stands_around_never_matters(name):
  model, params = make(name)
  alone = features(model, params, TOKENS[:1], MASK[:1])
  padded = np.pad(TOKENS[:1], ((0, 0), (3, 2)), constant_values=5)
  mask = np.pad(MASK[:1], ((0, 0), (3, 2)))
  actual = features(model, params, padded, mask)[:, 3:-2]
  np.testing.assert_allclose(actual, alone, atol=1e-5)


def test_later_tokens_do_not_reach_earlier_features():
  model, params = make("plain")
  changed = TOKENS.copy()
  changed[0, 4] += 1
  before, after = features(model, params), features(model, params, changed)
  np.testing.assert_array_equal(before[0, :4], after[0, :4])
  assert np.all(np.any(before[0, 4:] != after[0, 4:], axis=-1))


@pytest.mark.parametrize("name", OPTIONS)
def test_decoding_equals_the_full_forward_pass(name):
  """Prefill of left-padded prompts, then steps, against one pass."""
  model, params = make(name)
  prompts, mask = TOKENS[:2, :4], MASK[:2, :4]
  rest = TOKENS[:2, 4:]
  decoder = incremental.decoder(model)
  step = jax.jit(decoder.step)

  @jax.jit
  def start(params, prompts, mask):
    logits, cache = decoder.prefill(params, prompts, mask, 9)
    return logits, decoder.repeat(cache, 2)

  logits, cache = start(params, prompts, mask)
  rows = [np.repeat(logits, 2, axis=0)]
  for t in range(3):
    logits, cache = step(params, np.repeat(rest[:, t], 2), cache)
    rows.append(logits)
  full = np.concatenate([mask, np.ones((2, 3), bool)], 1)
  hidden = _features(model, params, TOKENS[:2], full)
  expected = np.asarray(_logits(model, params, hidden))[:, 3:]
  actual = np.stack(rows, axis=1)
  np.testing.assert_allclose(actual, np.repeat(expected, 2, axis=0), atol=2e-5)


def grouped_rows(prompts, prompt_mask, tokens, mask):
  """Every completion behind a prompt of its own: [B * G, P + T]."""
  group = tokens.shape[1]
  join = lambda prompt, new: jnp.concatenate(
      [jnp.repeat(prompt, group, 0), new.reshape(-1, new.shape[-1])], axis=1
  )
  return join(prompts, tokens), join(prompt_mask, mask)


def weigh(hidden, weights, mask):
  """What is differentiated; a row without a prompt takes no part."""
  return jnp.sum(jnp.where(mask[..., None], weights * hidden, 0.0)[:2])


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1)
def shared(model, params, prompts, tokens, mask, weights):
  hidden = transformer.completion_features(
      model, params, prompts, jnp.asarray(PROMPT_MASK), tokens, mask
  )
  return weigh(hidden, weights, mask)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1)
def copied(model, params, tokens, mask, weights):
  prompts = jnp.asarray(TOKENS), jnp.asarray(PROMPT_MASK)
  rows = grouped_rows(*prompts, tokens, mask)
  hidden = transformer.features(model, params, *rows)[:, 6:-1]
  return weigh(hidden.reshape(*tokens.shape, -1), weights, mask)


def assert_same_gradient(actual, expected):
  """Of two pairs (value, gradient)."""
  np.testing.assert_allclose(actual[0], expected[0], rtol=1e-4)
  for x, y in zip(jax.tree.leaves(actual[1]), jax.tree.leaves(expected[1])):
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


COMPLETIONS = np.random.default_rng(4).integers(0, 19, (3, 4, 5))
WEIGHTS = np.random.default_rng(5).normal(size=(3, 4, 5, 16)).astype("f")


@pytest.mark.parametrize(
    "name, length",
    [*((name, length) for name in OPTIONS for length in (1, 5)), ("plain", 2)],
)
def test_a_shared_prompt_changes_neither_features_nor_gradients(name, length):
  """Against every completion behind its own copy of the prompt.

  Ids of padding are poisoned; the last token is never read. The copies have
  room for the longest completions whatever the length.
  """
  model, params = make(name)
  lengths = np.array([length, min(length, 3), 1, min(length, 2)])[:, None]
  mask = np.broadcast_to(np.arange(5) < lengths, COMPLETIONS.shape)
  given = np.where(PROMPT_MASK, TOKENS, 10**6)
  poisoned = np.where(mask, COMPLETIONS, -7)
  short = lambda x: x[:, :, :length]
  actual = shared(
      model, params, given, short(poisoned), short(mask), short(WEIGHTS)
  )
  expected = copied(model, params, COMPLETIONS, mask, WEIGHTS)
  assert_same_gradient(actual, expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_packed_rows_equal_rows_of_their_own(name):
  """Three sequences in one row, padding between and inside them."""
  model, params = make(name)
  segments = np.array([[0, 0, 0, 1, 1, 2, 2, 2, 9, 9]])
  mask = np.array([[1, 1, 1, 0, 1, 1, 0, 1, 0, 0]], bool)
  tokens = np.arange(10)[None] + 3
  # The same in rows of their own; the second has one column too many.
  own = np.array([[0, 1, 2], [3, 4, 8], [5, 6, 7]])
  weigh = lambda hidden, weights, mask: jnp.sum(
      jnp.where(mask[..., None], weights * hidden, 0.0)
  )

  @jax.jit
  @jax.value_and_grad
  def packed(params, weights, mask, *rows):
    found = transformer.features(model, params, rows[0], mask, rows[1])
    return weigh(found, weights, mask)

  @jax.jit
  @jax.value_and_grad
  def alone(params, weights, mask, tokens):
    found = transformer.features(model, params, tokens, mask)
    return weigh(found, weights, mask)

  weights = WEIGHTS.reshape(-1, 16)[:10]
  actual = packed(params, weights[None], mask, tokens, segments)
  expected = alone(params, weights[own], mask[0][own], tokens[0][own])
  assert_same_gradient(actual, expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_packed_completions_equal_padded_ones(name):
  """Four completions in two rows of eight, values and gradients."""
  model, params = make(name)
  lengths = np.array([[5, 1, 3, 2], [4, 4, 0, 5], [1, 1, 1, 1]])
  mask = np.arange(5) < lengths[..., None]

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def packed(params, lengths, prompts, prompt_mask, tokens, mask):
    plan = packing.first_fit(lengths, lanes=2, room=8, width=5)
    found = transformer.completion_features(
        model,
        params,
        prompts,
        prompt_mask,
        packing.pack(plan, tokens),
        plan.mask,
        plan.segments,
    )
    back = jax.vmap(lambda x: packing.unpack(plan, x, 5), -1, -1)(found)
    return weigh(back, WEIGHTS, mask), plan.fits

  given = np.where(mask, COMPLETIONS, 10**6)
  (value, fits), gradient = packed(
      params, lengths, TOKENS, PROMPT_MASK, given, mask
  )
  assert np.all(fits)
  expected = shared(model, params, TOKENS, COMPLETIONS, mask, WEIGHTS)
  assert_same_gradient((value, gradient), expected)


def test_selected_rows_decode_as_before():
  """Some branches go on alone, each with a copy of its prompt."""
  model, params = make("grouped", num_layers=2)
  decoder = incremental.decoder(model)
  first, second = np.arange(6), np.arange(6) + 7
  rows = np.array([4, 1, 5])

  @jax.jit
  def run(params, prompts, mask, first, second, rows):
    _, cache = decoder.prefill(params, prompts, mask, 12)
    cache = decoder.repeat(cache, 3)
    _, cache = decoder.step(params, first, cache)
    expected, _ = decoder.step(params, second, cache)
    some = decoder.select(cache, rows)
    actual, some = decoder.step(params, second[rows], some)
    # And again, from branches that stand alone already.
    alone = decoder.select(some, jnp.array([1]))
    again, _ = decoder.step(params, first[1:2], alone)
    last, _ = decoder.step(params, first[:3], some)
    return expected[rows], actual, last[1], again[0]

  expected, actual, last, again = run(
      params, TOKENS[:2], PROMPT_MASK[:2], first, second, rows
  )
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  np.testing.assert_allclose(again, last, atol=1e-5)


@pytest.mark.parametrize("law", [SamplingLaw(0.7), SamplingLaw(1.0, 5, 0.9)])
def test_sampler_and_scorer_agree_at_the_first_update(law):
  """Pain 11 (verl #2996, Tunix #2129): two forward passes drift apart."""
  model, params = make("grouped", num_layers=2)
  rows = lambda x: x.reshape(8, *x.shape[2:])

  @jax.jit
  def sample(key, params, prompts, mask):
    return decoding.sample(
        key,
        incremental.decoder(model),
        params,
        prompts,
        mask,
        num_samples=4,
        max_new_tokens=6,
        stop_tokens=(3,),
        law=law,
    )

  @jax.jit
  def score(params, rollouts):
    tokens, mask = grouped_rows(*rollouts[:4])
    hidden = transformer.features(
        model, params, tokens[:, :-1], mask[:, :-1]
    )[:, 6:]
    scores = log_probs.score_features(
        hidden,
        transformer.unembedding(model, params),
        rows(rollouts.tokens),
        rows(rollouts.mask),
        law=law,
    )
    return scores.log_probs

  rollouts = sample(jax.random.key(5), params, TOKENS[:2], MASK[:2])
  np.testing.assert_allclose(
      score(params, rollouts), rows(rollouts.log_probs), atol=1e-4
  )


def test_completion_features_stand_one_position_before_their_token():
  """Against rows put together by hand; changing a token leaves its own."""
  model, params = make("plain")
  prompts, prompt_mask = TOKENS[:2, :3], np.array([[1, 1, 1], [0, 1, 1]]) > 0
  new = np.array([[[4, 5], [6, 7]], [[8, 9], [10, 3]]])
  mask = np.ones(new.shape, bool)
  find = lambda new: _completion_features(
      model, params, prompts, prompt_mask, new, mask
  )
  actual = find(new)
  for b, start in ((0, 0), (1, 1)):
    rows = [np.append(prompts[b, start:], new[b, g, 0]) for g in range(2)]
    real = np.ones((2, 4 - start), bool)
    alone = features(model, params, np.stack(rows), real)
    np.testing.assert_allclose(actual[b], alone[:, -2:], atol=1e-5)
  changed = new.copy()
  changed[0, 0, 1] = 11
  changed = find(changed)
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
  weights = WEIGHTS.reshape(-1, 16)[: TOKENS.size].reshape(3, 7, 16)

  def loss(params, tokens, mask):
    hidden = transformer.features(model, params, tokens, mask)
    return jnp.sum(jnp.where(mask[..., None], weights * hidden, 0.0))

  return jax.jit(jax.value_and_grad(loss))(params, TOKENS, MASK)


def test_scanned_unrolled_and_rematerialised_layers_are_one_function():
  model, params = make("plain")
  expected, gradient = loss_and_gradient(model, params)
  stack = lambda tree: stacking.stack_layers(tree, model.num_layers)
  for scan, remat in ((False, True), (True, False), (True, True)):
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

  def loss(params, tokens, mask):
    hidden = transformer.features(model, params, tokens, mask)
    return jnp.sum(jnp.where(mask[..., None], hidden, 0.0))

  nothing = np.zeros_like(MASK)
  gradient = jax.jit(jax.grad(loss))(params, TOKENS, nothing)
  for leaf in jax.tree.leaves(gradient):
    np.testing.assert_array_equal(leaf, 0.0)


def test_bfloat16_computes_narrow_and_emits_float32_logits():
  model, params = make("grouped", dtype=jnp.bfloat16)
  wide, _ = make("grouped")
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))
  hidden = _features(model, params, TOKENS, MASK)
  assert hidden.dtype == jnp.bfloat16
  logits = _logits(model, params, hidden)
  assert logits.dtype == np.float32
  exact = _features(wide, params, TOKENS, MASK)
  expected = np.asarray(_logits(wide, params, exact))
  error = np.abs(np.asarray(logits) - expected)[MASK]
  assert np.max(error) < 0.05 * np.max(np.abs(expected))


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
      jnp.asarray(TOKENS),
      jnp.asarray(MASK),
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
