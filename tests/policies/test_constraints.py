import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.policies import constraints, decoding, laws
from rewardjax.policies.laws import SamplingLaw
from tests.policies import tabular

VOCAB = tabular.VOCAB
# States 0 .. 2: even tokens, then tokens below 3, then nothing.
TABLE = np.array([[1, 0, 1, 0, 1], [1, 1, 1, 0, 0], [0] * 5], bool)
CONSTRAINT = constraints.TokenConstraint(
    0,
    lambda states: jnp.asarray(TABLE)[states],
    lambda states, tokens: jnp.minimum(states + 1, 2),
)
PROMPTS = np.array([[1], [4]])
LOGITS = np.asarray(tabular.LOGITS)
law_logits = jax.jit(laws.law_logits, static_argnums=0)


def sample(num_samples=4000, constraint=CONSTRAINT, **options):
  options = dict(max_new_tokens=4, stop_tokens=()) | options

  @jax.jit
  def run(key, logits, prompts, mask):
    return decoding.sample(
        key, tabular.decoder(), logits, prompts, mask,
        num_samples=num_samples, constraint=constraint, **options,
    )

  mask = np.ones(PROMPTS.shape, bool)
  found = run(jax.random.key(0), tabular.LOGITS, PROMPTS, mask)
  return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize(
    "law", [laws.PLAIN, SamplingLaw(temperature=0.5), SamplingLaw(top_k=2)]
)
def test_draws_follow_the_law_of_what_is_allowed(law):
  found = sample(law=law)
  for b, first in enumerate((1, 4)):
    logits = np.where(TABLE[0], LOGITS[first], -np.inf)
    expected = np.exp(law_logits(law, logits))
    shares = np.bincount(np.ravel(found.tokens[b, :, 0]), minlength=VOCAB)
    np.testing.assert_allclose(shares / 4000, expected, atol=0.035)
    assert np.all(shares[expected == 0] == 0)


def test_samples_end_where_nothing_is_allowed():
  found = sample(num_samples=50)
  np.testing.assert_array_equal(np.sum(found.mask, -1), 2)
  assert not np.any(found.truncated)
  assert np.all(found.tokens[..., 0] % 2 == 0)
  assert np.all(found.tokens[..., 1] < 3)
  stopped = sample(num_samples=50, stop_tokens=(2,))
  lengths = np.where(stopped.tokens[..., 0] == 2, 1, 2)
  np.testing.assert_array_equal(np.sum(stopped.mask, -1), lengths)


def test_recorded_log_probs_are_those_of_a_restricted_scorer():
  found = sample(num_samples=40)
  before = np.concatenate(
      [np.broadcast_to(PROMPTS[:, None], (2, 40, 1)), found.tokens[..., :-1]],
      axis=-1,
  )

  @jax.jit
  def score(logits, tokens):
    fits = constraints.allowed_along(CONSTRAINT, tokens)
    return laws.law_logits(laws.PLAIN, constraints.restrict(logits, fits))

  log_p = np.asarray(score(LOGITS[before], found.tokens))
  expected = np.take_along_axis(log_p, found.tokens[..., None], -1)[..., 0]
  np.testing.assert_allclose(
      found.log_probs, np.where(found.mask, expected, 0), atol=1e-6
  )


def test_a_constraint_that_allows_everything_changes_nothing():
  free = constraints.TokenConstraint(
      0,
      lambda states: jnp.ones((*states.shape, VOCAB), bool),
      lambda states, tokens: states,
  )
  make = functools.partial(sample, num_samples=9, stop_tokens=(3,))
  jax.tree.map(
      np.testing.assert_array_equal,
      make(constraint=free),
      make(constraint=None),
  )


def test_halvings_carry_the_state():
  make = functools.partial(sample, num_samples=9, stop_tokens=(2,))
  plain, halved = make(), make(halvings=2)
  np.testing.assert_array_equal(plain.tokens, halved.tokens)
  np.testing.assert_array_equal(plain.mask, halved.mask)


def test_restricting_by_hand():
  logits = jnp.asarray(np.array([[1, 2], [3, 4]], np.float32))
  allowed = jnp.asarray(np.array([[True, False], [False, False]]))
  actual = constraints.restrict(logits, allowed)
  np.testing.assert_array_equal(actual, [[1, -np.inf], [3, 4]])
  slope = jax.grad(lambda x: constraints.restrict(x, allowed)[0, 0])(logits)
  np.testing.assert_array_equal(slope, [[1, 0], [0, 0]])
