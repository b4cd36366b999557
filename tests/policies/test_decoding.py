import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rewardjax.policies import decoding, log_probs
from rewardjax.policies.laws import SamplingLaw
from tests.policies import tabular
from tests.policies.tabular import LOGITS, VOCAB

PROMPTS = np.array([[0, 1], [3, 2]])
PROMPT_MASK = np.array([[False, True], [True, True]])
DECODER = tabular.decoder()
LAWS = [
    SamplingLaw(),
    SamplingLaw(0.6),
    SamplingLaw(1.0, 3),
    SamplingLaw(1.5, 4, 0.8),
    SamplingLaw(1.0, min_p=0.3),
    SamplingLaw(0),
]


OPTIONS = (
    "decoder",
    "num_samples",
    "max_new_tokens",
    "stop_tokens",
    "law",
    "pad_token",
    "halvings",
)


@functools.partial(jax.jit, static_argnames=OPTIONS)
def run(key, params, prompts, mask, *, decoder, **kwargs):
  """One program for all calls of the same options and shapes."""
  return decoding.sample(key, decoder, params, prompts, mask, **kwargs)


def sample(
    key=None, prompts=PROMPTS, mask=PROMPT_MASK, params=LOGITS, **kwargs
):
  defaults = dict(num_samples=4, max_new_tokens=6, stop_tokens=(4,))
  key = jax.random.key(0) if key is None else key
  options = dict(decoder=DECODER) | defaults | kwargs
  return run(key, params, prompts, mask, **options)


def drawn(*args, **kwargs):
  """The same in NumPy."""
  return jax.tree.map(np.asarray, sample(*args, **kwargs))


@functools.partial(jax.jit, static_argnames="law")
def score(features, table, tokens, mask, law):
  return log_probs.score_features(features, table, tokens, mask, law=law)


def previous_tokens(rollouts):
  """What each token was drawn after: [B, G, T]."""
  shape = (*rollouts.tokens.shape[:2], 1)
  first = np.broadcast_to(rollouts.prompts[:, None, -1:], shape)
  return np.concatenate([first, rollouts.tokens[..., :-1]], axis=-1)


@pytest.mark.parametrize("law", LAWS)
def test_recorded_log_probs_are_the_scorers(law):
  """Pains 10, 11 (TRL #4159, #6944, verl #2996): the first ratio is 1.

  The scorer here is the one that training uses, from features.
  """
  rollouts = drawn(law=law)
  scores = score(
      np.eye(VOCAB, dtype=np.float32)[previous_tokens(rollouts)],
      np.asarray(LOGITS).T,
      rollouts.tokens,
      rollouts.mask,
      law=law,
  )
  assert np.all(np.isfinite(rollouts.log_probs))
  ratio = np.exp(np.asarray(scores.log_probs) - rollouts.log_probs)
  np.testing.assert_allclose(ratio, 1.0, rtol=1e-5)
  np.testing.assert_array_equal(rollouts.log_probs[~rollouts.mask], 0.0)


@pytest.mark.parametrize("law", LAWS[1:4:2])
def test_recorded_log_probs_are_the_enumerated_ones(law):
  rollouts = drawn(law=law, num_samples=16, max_new_tokens=3)
  for b, prompt in enumerate([1, 2]):
    exact = tabular.sequence_probabilities(prompt, 3, law, (4,))
    assert np.isclose(sum(exact.values()), 1.0)
    for g in range(16):
      tokens = rollouts.tokens[b, g][rollouts.mask[b, g]]
      total = np.sum(rollouts.log_probs[b, g])
      expected = np.log(exact[tuple(tokens.tolist())])
      np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("law", [SamplingLaw(0.8), SamplingLaw(1.0, 3, 0.9)])
def test_draws_follow_the_law(law):
  """Pearson's statistic against exact sequence probabilities.

  Its mean is the number of outcomes less one, its standard deviation
  sqrt(2 (n - 1)); six of those allow for any fixed key.
  """
  count = 20_000
  rollouts = drawn(
      prompts=PROMPTS[:1],
      mask=PROMPT_MASK[:1],
      law=law,
      num_samples=count,
      max_new_tokens=2,
  )
  exact = tabular.sequence_probabilities(1, 2, law, (4,))
  seen = dict.fromkeys(exact, 0)
  for tokens, mask in zip(rollouts.tokens[0], rollouts.mask[0]):
    seen[tuple(tokens[mask].tolist())] += 1
  expected = count * np.array(list(exact.values()))
  statistic = np.sum((np.array(list(seen.values())) - expected) ** 2 / expected)
  freedom = len(exact) - 1
  assert statistic < freedom + 6 * np.sqrt(2 * freedom)


def chain_logits():
  """Token v is followed by v + 1, for sure: 0 1 2 3 4 0 ..."""
  return np.roll(np.eye(VOCAB, dtype=np.float32), 1, axis=1) * 100


@pytest.mark.parametrize("law", [SamplingLaw(), SamplingLaw(0)])
def test_stop_tokens_masks_and_truncation_by_hand(law):
  """Pain 26 (TRL #6357, #3091, #7039): the stop token counts, padding not.

  Token 0 is padding, a stop token and part of a prompt all at once.
  """
  rollouts = drawn(
      params=chain_logits(),
      prompts=np.array([[0, 0], [0, 2], [0, 3]]),
      mask=np.ones((3, 2), bool),
      num_samples=1,
      max_new_tokens=3,
      stop_tokens=(0, 2),
      law=law,
  )
  np.testing.assert_array_equal(
      rollouts.tokens[:, 0], [[1, 2, 0], [3, 4, 0], [4, 0, 0]]
  )
  np.testing.assert_array_equal(
      rollouts.mask[:, 0],
      [[True, True, False], [True, True, True], [True, True, False]],
  )
  np.testing.assert_array_equal(rollouts.truncated[:, 0], [False] * 3)
  never = drawn(params=chain_logits(), stop_tokens=(), pad_token=3)
  assert np.all(never.truncated) and np.all(never.mask)


def test_padding_stands_after_the_stop_token():
  rollouts = drawn(pad_token=7, num_samples=32)
  padding = ~rollouts.mask
  assert np.any(padding)
  np.testing.assert_array_equal(rollouts.tokens == 7, padding)


def test_the_loop_ends_when_every_sample_has_stopped():
  """From 1: 2, 3, 4 (stop) takes two steps beyond the prompt's own logits."""
  calls = []
  run = lambda prompts: sample(
      params=chain_logits(),
      prompts=prompts,
      mask=np.ones_like(prompts, bool),
      max_new_tokens=50,
      decoder=tabular.decoder(lambda: calls.append(1)),
  )
  rollouts = jax.block_until_ready(run(np.array([[1], [3], [2]])))
  jax.effects_barrier()
  assert len(calls) == 2
  lengths = np.sum(rollouts.mask, -1)[:, 0]
  np.testing.assert_array_equal(lengths, [3, 1, 2])


@functools.partial(jax.jit, static_argnames="halvings")
def tempered(temperature, halvings=0):
  """One program for all temperatures."""
  return decoding.sample(
      jax.random.key(0),
      DECODER,
      LOGITS,
      jnp.asarray(PROMPTS),
      jnp.asarray(PROMPT_MASK),
      num_samples=5,
      max_new_tokens=9,
      stop_tokens=(4,),
      law=SamplingLaw(temperature),
      halvings=halvings,
  )


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_halvings_change_no_draw(temperature):
  """Samples that go on in a smaller batch are what they would have been."""
  expected = jax.tree.map(np.asarray, tempered(temperature))
  ends = np.sum(expected.mask, axis=-1)
  assert len(set(ends.ravel().tolist())) > 2  # else nothing is tested
  for halvings in (1, 2, 7):
    actual = tempered(temperature, halvings=halvings)
    for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
      np.testing.assert_allclose(x, y, atol=1e-6)


def test_halvings_pay_less_for_the_longest():
  """Rows read by `step`: at most half as many once half have stopped."""
  rows = []

  def counting(on_step):
    made = tabular.decoder()

    def step(params, tokens, cache):
      jax.debug.callback(lambda: on_step(tokens.shape[0]))
      return made.step(params, tokens, cache)

    return made._replace(step=step)

  lengths = {}
  for halvings in (0, 1, 2):
    rows.clear()
    found = drawn(
        decoder=counting(rows.append),
        num_samples=8,
        max_new_tokens=12,
        halvings=halvings,
    )
    jax.effects_barrier()
    # `step` number t reads token t of those that have not stopped there.
    running = np.sum(found.mask & ~(found.tokens == 4), axis=(0, 1))
    running = [int(x) for x in running[:-1] if x]
    sizes = [16 >> i for i in range(halvings + 1)]
    fit = lambda n: min(size for size in sizes if size >= n)  # noqa: B023
    assert sorted(rows, reverse=True) == [fit(n) for n in running]
    lengths[halvings] = sum(rows)
  assert lengths[2] <= lengths[1] < lengths[0]


def test_halvings_under_vmap_equal_single_runs():
  keys = jax.random.split(jax.random.key(3), 3)
  run = lambda key: sample(key, halvings=2, max_new_tokens=8)
  together = jax.jit(jax.vmap(run))(keys)
  for i, key in enumerate(keys):
    for x, y in zip(jax.tree.leaves(together), jax.tree.leaves(run(key))):
      np.testing.assert_allclose(x[i], y, atol=1e-6)


def test_halvings_need_a_decoder_that_selects():
  model = tabular.decoder()._replace(select=None)
  with pytest.raises(ValueError, match="decoder must have `select`"):
    sample(decoder=model, halvings=1)


def test_one_token_needs_no_step():
  calls = []
  model = tabular.decoder(lambda: calls.append(1))
  rollouts = sample(max_new_tokens=1, stop_tokens=(), decoder=model)
  jax.effects_barrier()
  assert not calls and rollouts.tokens.shape == (2, 4, 1)


def test_draws_do_not_depend_on_the_batch_layout():
  """Permuted, split, with more samples, or cut short: the same draws."""
  prompts, ids = np.array([[1], [2], [1], [3]]), np.array([7, 3, 5, 9])
  run = lambda rows, **kwargs: drawn(
      prompts=prompts[rows],
      mask=np.ones((rows.size, 1), bool),
      prompt_ids=ids[rows],
      stop_tokens=(),
      **kwargs,
  ).tokens
  whole = run(np.arange(4))
  order = np.array([2, 0, 3, 1])
  np.testing.assert_array_equal(run(order), whole[order])
  np.testing.assert_array_equal(run(np.array([3])), whole[3:])
  more = run(np.arange(4), num_samples=6, max_new_tokens=9)
  np.testing.assert_array_equal(more[:, :4, :6], whole)
  # Equal prompts with different ids are different examples.
  assert np.any(whole[0] != whole[2])


def test_seeds_under_vmap_equal_single_runs():
  keys = jax.random.split(jax.random.key(1), 3)
  logits = np.asarray(LOGITS)
  params = np.stack([logits, 2 * logits, chain_logits()])
  run = lambda key, params: sample(key, params=params, max_new_tokens=9)
  many = jax.jit(jax.vmap(run))(keys, params)
  for i in range(3):
    one = run(keys[i], params[i])
    for x, y in zip(jax.tree.leaves(many), jax.tree.leaves(one)):
      np.testing.assert_allclose(x[i], y, rtol=1e-6)


def test_seeds_under_vmap_share_one_loop_condition():
  """A mapped condition would copy the whole cache at every token."""
  run = lambda key, params: sample(key, params=params)
  keys = jax.random.split(jax.random.key(1), 3)
  mapped = jax.vmap(jax.vmap(run, (0, None)), (None, 0))
  text = jax.make_jaxpr(mapped)(keys, jnp.stack([LOGITS] * 2))
  conditions = list(loop_conditions(text.jaxpr))
  assert conditions and all(c.aval.shape == () for c in conditions)


def loop_conditions(jaxpr):
  for equation in jaxpr.eqns:
    if equation.primitive.name == "while":
      yield from equation.params["cond_jaxpr"].jaxpr.outvars
    elif "jaxpr" in equation.params:
      yield from loop_conditions(equation.params["jaxpr"].jaxpr)


def test_sampling_inside_scan_equals_sampling_outside():
  keys = jax.random.split(jax.random.key(2), 3)
  _, many = jax.lax.scan(lambda c, k: (c, sample(k).tokens), None, keys)
  for i in range(3):
    np.testing.assert_array_equal(many[i], sample(keys[i]).tokens)


def test_a_sharded_batch_draws_the_same():
  mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
  rows = NamedSharding(mesh, PartitionSpec("data"))
  prompts, mask = jax.device_put((PROMPTS, PROMPT_MASK), rows)
  actual = sample(prompts=prompts, mask=mask)
  np.testing.assert_array_equal(actual.tokens, sample().tokens)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(num_samples=0), "num_samples must be"),
        (dict(max_new_tokens=0), "max_new_tokens must be"),
        (dict(law=SamplingLaw(-1.0)), "temperature must be"),
    ],
)
def test_sizes_without_meaning_are_refused(kwargs, message):
  with pytest.raises(ValueError, match=f"sample: {message}"):
    sample(**kwargs)
