import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import tilting
from rewardjax.recipes import exploration, oreal, policy_gradient
from tests.recipes import batches, cases, exploration_references
from tests.recipes.exploration_cases import CASES
from tests.recipes.test_policy_gradient import _numeric_gradient

# They share what they compile.
pytestmark = pytest.mark.xdist_group("recipes.exploration")
every_recipe = pytest.mark.parametrize("name", CASES)
close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_every_recipe_has_a_case():
  assert set(CASES) == {*exploration.__all__, *oreal.__all__}


def run(call, log_probs):
  """Loss, metrics and gradient of the total."""

  def total(log_probs):
    out = call(log_probs)
    return out[0].total, out

  (_, out), slope = jax.value_and_grad(total, has_aux=True)(log_probs)
  return *out, slope


def in_float64(function):
  """Compiles; one program for all batches of a shape."""
  function = jax.jit(function, static_argnums=0)

  def call(*args):
    with jax.enable_x64(True):
      return jax.device_get(function(*args))

  return call


@in_float64
def compiled(name, batch):
  return run(cases.whole(CASES[name], batch), batch.log_probs)


@in_float64
def run_parts(name, batch, parts):
  """Each row of `parts` by itself, its credit made on the whole batch."""
  given = cases.credit_half(CASES[name], batch)
  return jax.vmap(
      lambda rows: run(
          cases.loss_half(CASES[name], batch, given, rows),
          batches.take(batch.log_probs, rows),
      )
  )(parts)


@functools.cache
def trapped(name):
  """`batches.eagerly` of its traps."""
  call = lambda batch: cases.whole(CASES[name], batch)(batch.log_probs)
  return batches.eagerly(call, batches.traps(batches.make()))


@every_recipe
def test_recipe_is_the_formula_of_its_paper(name):
  batch = batches.make()
  reference = getattr(exploration_references, name)
  loss, _, slope = compiled(name, batches.poison(batch))
  expected = reference(batch.log_probs, batch)
  np.testing.assert_allclose(loss.total / loss.weight, expected, rtol=1e-9)
  expected = _numeric_gradient(
      lambda x: reference(x, batch), batch.log_probs, batch.counted
  )
  slope = slope / loss.weight
  np.testing.assert_allclose(slope, expected, atol=1e-8)
  assert np.max(np.abs(slope)) > 1e-3


@every_recipe
def test_masked_and_invalid_entries_are_never_read(name):
  outs, slopes = trapped(name)
  rows = [jax.tree.map(lambda x, i=i: x[i], (outs, slopes)) for i in range(3)]
  for other in rows[1:]:
    jax.tree.map(np.testing.assert_array_equal, rows[0], other)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(rows[0]))
  masked = ~batches.make().counted
  np.testing.assert_array_equal(slopes.log_probs[:3, masked], 0.0)


@every_recipe
def test_microbatches_change_nothing(name):
  """Pains 1, 2: samples in any order, groups cut through."""
  if name == "amft":
    pytest.skip("its microbatches hold equal shares")
  batch = batches.poison(batches.make())
  loss, metrics, slope = compiled(name, batch)
  parts = np.random.default_rng(0).permutation(16).reshape(4, 4)
  *outs, of_parts = run_parts(name, batch, parts)
  jax.tree.map(lambda x, y: close(x.sum(0), y), outs, [loss, metrics])
  added = np.zeros((16, 1, 6))
  added[parts] = of_parts
  close(added.reshape(slope.shape), slope)


@every_recipe
def test_order_padding_and_invalid_samples_change_nothing(name):
  """Pains 7, 12: one sample marked, or absent; in order, or moved, padded."""
  batch, random = batches.make(), np.random.default_rng(0)
  valid = batch.valid.copy()
  groups, members = random.permutation(4), random.permutation([1, 2, 3])
  if name == "oreal":  # its `kept` names samples by their place
    groups = members = np.arange(4)
  else:
    valid[:, 0] = False
  move = lambda x: x[groups][:, members]
  pad = lambda x: np.pad(x, [(0, 0), (0, 0), (0, 2)]) if x.ndim == 3 else x
  changed = batches.poison(batches.Batch(*(pad(move(x)) for x in batch)))
  marked = batches.poison(batch._replace(valid=valid))
  one, _, slope = compiled(name, changed)
  other, _, moved = compiled(name, marked)
  jax.tree.map(close, other, one)
  close(move(moved), slope[..., :6])
  np.testing.assert_array_equal(slope[..., 6:], 0.0)
  np.testing.assert_array_equal(moved[~marked.counted], 0.0)


@every_recipe
def test_nothing_valid_is_zero_gradient(name):
  out, slopes = trapped(name)
  np.testing.assert_array_equal(slopes.log_probs[3], 0.0)
  for leaf in jax.tree.leaves(out):
    assert np.all(np.isfinite(leaf[3]))


@pytest.mark.parametrize("name", ["lp_reg", "g2rpo", "oreal"])
def test_groups_of_equal_rewards_have_no_gradient(name):
  batch = batches.make()
  batch = batch._replace(rewards=np.full(batch.rewards.shape, 0.1))
  call = cases.whole(CASES[name], batch, kl_coefficient=0.0)
  slope = jax.jit(jax.grad(lambda lp: call(lp)[0].value))(
      jnp.asarray(batch.log_probs)
  )
  np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("name", ["unlikeliness", "dcpo"])
def test_groups_of_right_answers_keep_a_gradient(name):
  batch = batches.make()
  batch = batch._replace(rewards=np.ones_like(batch.rewards))
  _, _, slope = compiled(name, batch)
  assert np.max(np.abs(slope)) > 1e-3


@pytest.mark.parametrize(
    "name, off",
    [
        ("unlikeliness", dict(coefficient=0.0)),
        ("dcpo", dict(cap=0.0, clip_high=0.2)),
        ("lp_reg", dict(fraction=0.0, clip_low=0.2, clip_high=0.2)),
    ],
)
def test_switched_off_they_are_grpo_over_tokens(name, off):
  """DAPO without a length penalty is GRPO under the token mean."""
  batch = batches.make()
  log_probs = jnp.asarray(batch.log_probs)

  @jax.jit
  def totals(log_probs):
    mine = cases.whole(CASES[name], batch, **off)(log_probs)[0]
    plain = policy_gradient.dapo(
        log_probs, batches.rollouts(batch), batches.reward(batch),
        max_length=6, buffer=1, factor=0.0, clip_high=0.2,
    )[0]
    return mine.total, plain.total

  # Dead groups count in the denominator of two of them, with losses of 0.
  close(*totals(log_probs))


def test_gradient_reaches_what_is_trained_and_nothing_else():
  slope_of = lambda name: trapped(name)[1]
  assert np.max(np.abs(slope_of("g2rpo").values[0])) > 1e-3
  # As proxy and as tempered log-probs; as rewards of tokens.
  np.testing.assert_array_equal(slope_of("lp_reg").reference, 0.0)
  np.testing.assert_array_equal(slope_of("dcpo").reference, 0.0)
  np.testing.assert_array_equal(slope_of("oreal").values, 0.0)
  # As demonstrations.
  counted = batches.make().counted
  expected = np.where(counted, -0.25 / counted.sum(), 0.0)
  close(slope_of("amft").reference[0], expected)


def test_a_glitch_in_a_log_prob_stays_finite():
  """With A < 0 the unprotected loss is infinite at a log-ratio of 800."""
  batch = batches.make()
  gaps, ratios = [800, -800, 0.1], [1e3, 1e-3, 1.105171]
  # Only that token: the other ratios are 1.
  glitches = np.stack([batch.behavior] * 3)
  glitches[:, 0, 1, 0] += gaps
  call = cases.whole(
      CASES["stable_reinforce"], batch, largest_ratio=1e3, clip_low=0.2
  )
  one = lambda log_probs: run(call, log_probs)
  loss, metrics, slope = jax.device_get(
      jax.jit(jax.vmap(one))(jnp.asarray(glitches, jnp.float32))
  )
  assert np.all(np.isfinite(loss.total)) and np.all(np.isfinite(slope))
  extra = metrics["ratio"].total - (metrics["ratio"].weight - 1)
  np.testing.assert_allclose(extra, ratios, rtol=1e-2, atol=1e-4)
  np.testing.assert_array_equal(slope[:2, 0, 1, 0], 0.0)


def test_lp_reg_needs_marked_tokens():
  batch = batches.make()
  given = cases.credit_half("grpo", batch)
  with pytest.raises(ValueError, match="lp_reg: reward must be a Credit"):
    exploration.lp_reg(
        jnp.asarray(batch.log_probs), batches.rollouts(batch), given,
        proxy_log_probs=jnp.asarray(batch.reference),
    )


def test_best_of_four_is_the_optimum_of_a_kl_regularised_policy():
  """With odds o before and O after, the coefficient is 1 / log(O / o)."""
  p = np.array([0.4, 0.1, 0.3, 0.2])
  draws = np.stack(np.meshgrid(*[np.arange(4)] * 4), -1).reshape(-1, 4)
  # The first right draw, or the first of all.
  right = draws < 2
  first = np.where(right.any(1), right.argmax(1), 0)
  chosen = np.take_along_axis(draws, first[:, None], 1)[:, 0]
  law = np.bincount(chosen, weights=np.prod(p[draws], 1))
  np.testing.assert_allclose(law, [0.75, 0.1875, 0.0375, 0.025], rtol=1e-6)
  odds = lambda x: x / (1 - x)
  coefficient = 1 / np.log(odds(1 - 0.5**4) / odds(0.5))
  np.testing.assert_allclose(coefficient, 0.369269, atol=1e-6)
  tilted = tilting.exponential_tilt(
      jnp.log(jnp.array(p)), jnp.array([1.0, 1, 0, 0]), temperature=coefficient
  )
  np.testing.assert_allclose(jnp.exp(tilted), law, rtol=1e-5)
