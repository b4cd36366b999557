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
TABLE = jnp.array([[1, 0, 1, 0, 1], [1, 1, 1, 0, 0], [0] * 5], bool)
CONSTRAINT = constraints.TokenConstraint(
    0,
    lambda states: TABLE[states],
    lambda states, tokens: jnp.minimum(states + 1, 2),
)
PROMPTS = jnp.array([[1], [4]])


def sample(num_samples=4000, constraint=CONSTRAINT, **options):
  options = dict(max_new_tokens=4, stop_tokens=()) | options
  return decoding.sample(
      jax.random.key(0), tabular.decoder(), tabular.LOGITS, PROMPTS,
      jnp.ones(PROMPTS.shape, bool), num_samples=num_samples,
      constraint=constraint, **options,
  )


@pytest.mark.parametrize(
    "law", [laws.PLAIN, SamplingLaw(temperature=0.5), SamplingLaw(top_k=2)]
)
def test_draws_follow_the_law_of_what_is_allowed(law):
  found = sample(law=law)
  for b, first in enumerate((1, 4)):
    logits = jnp.where(TABLE[0], tabular.LOGITS[first], -jnp.inf)
    expected = np.exp(laws.law_logits(law, logits))
    shares = np.bincount(np.ravel(found.tokens[b, :, 0]), minlength=VOCAB)
    np.testing.assert_allclose(shares / 4000, expected, atol=0.035)
    assert np.all(shares[np.asarray(expected) == 0] == 0)


def test_samples_end_where_nothing_is_allowed():
  found = sample(num_samples=50)
  np.testing.assert_array_equal(np.sum(found.mask, -1), 2)
  assert not np.any(found.truncated)
  assert np.all(found.tokens[..., 0] % 2 == 0)
  assert np.all(found.tokens[..., 1] < 3)
  stopped = sample(num_samples=50, stop_tokens=(2,))
  lengths = np.where(np.asarray(stopped.tokens[..., 0]) == 2, 1, 2)
  np.testing.assert_array_equal(np.sum(stopped.mask, -1), lengths)


def test_recorded_log_probs_are_those_of_a_restricted_scorer():
  found = sample(num_samples=40)
  before = jnp.concatenate(
      [jnp.broadcast_to(PROMPTS[:, None], (2, 40, 1)), found.tokens[..., :-1]],
      axis=-1,
  )
  fits = constraints.allowed_along(CONSTRAINT, found.tokens)
  logits = constraints.restrict(tabular.LOGITS[before], fits)
  log_p = laws.law_logits(laws.PLAIN, logits)
  expected = jnp.take_along_axis(log_p, found.tokens[..., None], -1)[..., 0]
  np.testing.assert_allclose(
      found.log_probs, jnp.where(found.mask, expected, 0), atol=1e-6
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
  logits = jnp.array([[1.0, 2.0], [3.0, 4.0]])
  allowed = jnp.array([[True, False], [False, False]])
  actual = constraints.restrict(logits, allowed)
  np.testing.assert_array_equal(actual, [[1, -jnp.inf], [3, 4]])
  slope = jax.grad(lambda x: constraints.restrict(x, allowed)[0, 0])(logits)
  np.testing.assert_array_equal(slope, [[1, 0], [0, 0]])
