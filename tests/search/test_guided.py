import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import guided
from tests import variants

guided = variants.programs(guided)

LOGITS = jnp.array([[0.0, 1.0, -1.0], [0.5, -0.5, 0.2], [0.1, 0.0, 0.3]])
WORTH = jnp.array([1.0, -0.5, 0.3])


def next_logits(tokens, count):
  """Of a chain: what follows hangs on the last token."""
  return LOGITS[jnp.take(tokens, count - 1, axis=1)]


def reward(tokens, count):
  """Later tokens weigh more; padding weighs nothing."""
  real = jnp.arange(tokens.shape[1])[None] < count
  places = jnp.arange(tokens.shape[1])[None] / 2
  return jnp.sum(jnp.where(real, WORTH[tokens] * places, 0.0), axis=1)


def decode(batch, *, strength, **options):
  options = dict(num_candidates=3, max_new_tokens=2) | options
  return guided.reward_guided_decode(
      jax.random.key(0),
      next_logits,
      options.pop("reward_fn", reward),
      jnp.ones((batch, 1), int),
      strength=strength,
      **options,
  )


def law(strength, sign=1, candidates=3):
  """Of both tokens after 1, by enumeration in NumPy."""
  logits, worth = np.asarray(LOGITS, float), np.asarray(WORTH, float)
  found = {}
  for path in itertools.product(range(3), repeat=2):
    chance, before, total = 1.0, 1, 0.0
    for t, token in enumerate(path, 1):
      q = np.exp(logits[before]) / np.exp(logits[before]).sum()
      kept = np.argsort(-q)[:candidates]
      rewards = total + worth * t / 2
      tilted = {j: q[j] * np.exp(strength * sign * rewards[j]) for j in kept}
      chance *= tilted.get(token, 0.0) / sum(tilted.values())
      total, before = rewards[token], token
    found[path] = chance
  return found


@pytest.mark.parametrize(
    "strength, sign, candidates", [(0.0, 1, 3), (2.0, 1, 3), (2.0, -1, 2)]
)
def test_the_law_is_that_of_enumeration(strength, sign, candidates):
  batch = 4000
  drawn = decode(
      batch, strength=strength, sign=sign, num_candidates=candidates
  ).tokens[:, 1:]
  for path, chance in law(strength, sign, candidates).items():
    share = np.mean(np.all(np.asarray(drawn) == path, axis=1))
    error = 5 * np.sqrt(chance * (1 - chance) / batch)
    assert abs(share - chance) <= error, path


def test_one_candidate_is_greedy_whatever_the_reward():
  found = decode(2, strength=50.0, num_candidates=1, max_new_tokens=4)
  token, expected = 1, [1]
  for _ in range(4):
    token = int(np.argmax(LOGITS[token]))
    expected.append(token)
  np.testing.assert_array_equal(found.tokens, [expected] * 2)
  np.testing.assert_array_equal(found.mask, [[False] + [True] * 4] * 2)


def test_a_strong_pull_takes_the_extreme_of_the_candidates():
  high = decode(5, strength=1e4, max_new_tokens=3)
  np.testing.assert_array_equal(high.tokens[:, 1:], 0)
  low = decode(5, strength=1e4, sign=-1, max_new_tokens=3)
  np.testing.assert_array_equal(low.tokens[:, 1:], 1)


def test_a_stop_token_ends_a_text():
  found = decode(4, strength=1e4, max_new_tokens=3, stop_tokens=(0,),
                 pad_token=2)
  np.testing.assert_array_equal(found.tokens, [[1, 0, 2, 2]] * 4)
  np.testing.assert_array_equal(found.mask, [[0, 1, 0, 0]] * 4)


def test_it_compiles_to_the_same_draws():
  call = lambda strength: decode(8, strength=strength).tokens
  with variants.op_by_op():
    eager = call(1.0)
  np.testing.assert_array_equal(jax.jit(call)(1.0), eager)


@variants.every
def test_logits_by_hand(variant):
  log_q = jnp.log(jnp.array([[0.5, 0.3], [0.5, 0.3]]))
  rewards = jnp.array([[1.0, 2.0], [0.0, 0.0]])
  tilted = variant(guided.guided_logits)(log_q, rewards, strength=2.0, sign=-1)
  expected = [[np.log(0.5) - 2, np.log(0.3) - 4], np.log([0.5, 0.3])]
  np.testing.assert_allclose(tilted, expected, rtol=1e-6)
  flat = variant(guided.guided_logits)(
      log_q, rewards, strength=2.0, mixing="probability"
  )
  softmax = lambda x: np.exp(x) / np.exp(x).sum()
  base = softmax(2 * np.array([0.5, 0.3]))
  expected = [2 * (softmax(np.array([2.0, 4.0])) + base), 2 * (0.5 + base)]
  np.testing.assert_allclose(flat, expected, rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="num_candidates must be in"):
    decode(1, strength=1.0, num_candidates=0)
  with pytest.raises(ValueError, match="mixing must be one of logit, prob"):
    decode(1, strength=1.0, mixing="public")
  with pytest.raises(ValueError, match="sign must be 1 or -1, got 2"):
    decode(1, strength=1.0, sign=2)
  with pytest.raises(ValueError, match=r"'rewards': \(3,\)"):
    guided.guided_logits(jnp.ones(2), jnp.ones(3), strength=1.0)
