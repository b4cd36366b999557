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

every_recipe = pytest.mark.parametrize("name", CASES)
close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_every_recipe_has_a_case():
  assert set(CASES) == {*exploration.__all__, *oreal.__all__}


def run(call, log_probs):
  """Loss, metrics and gradient of the total; eagerly, so that NaN shows."""

  def total(log_probs):
    out = call(log_probs)
    return out[0].total, out

  (_, out), slope = jax.value_and_grad(total, has_aux=True)(log_probs)
  return *out, slope


@functools.partial(jax.jit, static_argnums=0)
def compiled(name, batch):
  return run(cases.whole(CASES[name], batch), batch.log_probs)


@functools.partial(jax.jit, static_argnums=0)
def run_parts(name, batch, parts):
  """Each part by itself, its credit made on the whole batch."""
  given = cases.credit_half(CASES[name], batch)
  return [
      run(
          cases.loss_half(CASES[name], batch, given, rows),
          batches.take(batch.log_probs, rows),
      )
      for rows in parts
  ]


@every_recipe
def test_recipe_is_the_formula_of_its_paper(name):
  batch = batches.make()
  reference = getattr(exploration_references, name)
  with jax.enable_x64(True):
    poisoned = batches.poison(batch)
    call = cases.whole(CASES[name], poisoned)
    value = lambda lp: call(lp)[0].value
    log_probs = jnp.asarray(poisoned.log_probs)
    actual, slope = jax.jit(jax.value_and_grad(value))(log_probs)
  expected = reference(batch.log_probs, batch)
  np.testing.assert_allclose(actual, expected, rtol=1e-9)
  expected = _numeric_gradient(
      lambda x: reference(x, batch), batch.log_probs, batch.counted
  )
  np.testing.assert_allclose(slope, expected, atol=1e-8)
  assert np.max(np.abs(slope)) > 1e-3


@every_recipe
def test_microbatches_order_and_padding_change_nothing(name):
  """Pains 1, 2, 7, 12: samples in any order, cut anywhere, padded longer."""
  batch, case = batches.poison(batches.make()), CASES[name]
  log_probs = jnp.asarray(batch.log_probs)
  loss, metrics, slope = run(cases.whole(case, batch), log_probs)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((loss, metrics)))
  np.testing.assert_array_equal(slope[~batch.counted], 0.0)
  random = np.random.default_rng(0)
  if name != "amft":  # whose microbatches hold equal shares
    parts = np.split(random.permutation(16), [6])
    *outs, of_parts = zip(*run_parts(name, batch, parts))
    add = lambda a, b: np.asarray(a) + np.asarray(b)
    added = [jax.tree.map(add, *out) for out in outs]
    jax.tree.map(close, added, [loss, metrics])
    slopes = np.zeros((16, 1, 6))
    slopes[np.concatenate(parts)] = np.concatenate(of_parts)
    close(slopes.reshape(slope.shape), slope)
  groups, members = random.permutation(4), random.permutation(4)
  move = lambda x: np.asarray(x)[groups][:, members]
  if name != "oreal":  # whose `kept` is of the first group
    shuffled = batches.Batch(*map(move, batch))
    other, _, moved = run(
        cases.whole(case, shuffled), jnp.asarray(shuffled.log_probs)
    )
    close(other.value, loss.value)
    close(moved, move(slope))
  pad = lambda x: np.pad(x, [(0, 0), (0, 0), (0, 2)]) if x.ndim == 3 else x
  padded = batches.poison(batches.Batch(*map(pad, batches.make())))
  other, _, longer = compiled(name, padded)
  close(other.value, loss.value)
  close(longer[..., :6], slope)


@every_recipe
def test_an_invalid_sample_is_as_if_it_were_absent(name):
  if name == "oreal":
    pytest.skip("its `kept` names samples by their place")
  batch, case = batches.make(), CASES[name]
  dropped = batches.Batch(*(x[:, 1:] for x in batch))
  valid = batch.valid.copy()
  valid[:, 0] = False
  marked = batches.poison(batch._replace(valid=valid))
  one, _, slope = compiled(name, dropped)
  other, _, moved = run(
      cases.whole(case, marked), jnp.asarray(marked.log_probs)
  )
  close(other, one)
  close(moved[:, 1:], slope)
  np.testing.assert_array_equal(moved[:, 0], 0.0)


@every_recipe
def test_nothing_valid_is_zero_gradient(name):
  batch = batches.make()
  batch = batches.poison(batch._replace(valid=np.zeros_like(batch.valid)))
  loss, metrics, slope = run(
      cases.whole(CASES[name], batch), jnp.asarray(batch.log_probs)
  )
  np.testing.assert_array_equal(slope, 0.0)
  for leaf in jax.tree.leaves((loss, metrics)):
    assert np.all(np.isfinite(leaf))


@pytest.mark.parametrize("name", ["lp_reg", "g2rpo", "oreal"])
def test_groups_of_equal_rewards_have_no_gradient(name):
  batch = batches.make()
  batch = batch._replace(rewards=np.full(batch.rewards.shape, 0.1))
  call = cases.whole(CASES[name], batch, kl_coefficient=0.0)
  slope = jax.grad(lambda lp: call(lp)[0].value)(jnp.asarray(batch.log_probs))
  np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("name", ["unlikeliness", "dcpo"])
def test_groups_of_right_answers_keep_a_gradient(name):
  batch = batches.make()
  batch = batch._replace(rewards=np.ones_like(batch.rewards))
  log_probs = jnp.asarray(batch.log_probs)
  value = lambda call: jax.grad(lambda lp: call(lp)[0].value)(log_probs)
  slope = value(cases.whole(CASES[name], batch))
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
  call = cases.whole(CASES[name], batch, **off)
  plain = policy_gradient.dapo(
      log_probs, batches.rollouts(batch), batches.reward(batch),
      max_length=6, buffer=1, factor=0.0, clip_high=0.2,
  )[0]
  # Dead groups count in the denominator of two of them, with losses of 0.
  close(call(log_probs)[0].total, plain.total)


def test_gradient_reaches_what_is_trained_and_nothing_else():
  batch = batches.make()
  entropies = jnp.asarray(batch.values)
  call = cases.whole(CASES["g2rpo"], batch)
  log_probs = jnp.asarray(batch.log_probs)
  loss = lambda h: call(log_probs, entropies=h)[0].value
  assert np.max(np.abs(jax.grad(loss)(entropies))) > 1e-3
  held = {
      "lp_reg": "proxy_log_probs",
      "dcpo": "tempered_log_probs",
      "oreal": "token_rewards",
  }
  for name, array in held.items():
    given = dict(
        proxy_log_probs=batch.reference,
        tempered_log_probs=batch.reference,
        token_rewards=batch.token_rewards,
    )[array]
    call = cases.whole(CASES[name], batch)
    loss = lambda x, call=call, array=array: call(log_probs, **{array: x})[0]
    slope = jax.grad(lambda x, loss=loss: loss(x).value)(jnp.asarray(given))
    np.testing.assert_array_equal(slope, 0.0)
  call = cases.whole(CASES["amft"], batch)
  loss = lambda x: call(log_probs, demonstration_log_probs=x)[0].value
  slope = jax.grad(loss)(jnp.asarray(batch.reference))
  close(slope, np.where(batch.counted, -0.25 / batch.counted.sum(), 0.0))


@pytest.mark.parametrize(
    "gap, ratio", [(800, 1e3), (-800, 1e-3), (0.1, 1.105171)]
)
def test_a_glitch_in_a_log_prob_stays_finite(gap, ratio):
  """With A < 0 the unprotected loss is infinite at a log-ratio of 800."""
  batch = batches.make()
  glitch = batch.log_probs.copy()
  glitch[0, 1, 0] = batch.behavior[0, 1, 0] + gap
  call = cases.whole(
      CASES["stable_reinforce"], batch, largest_ratio=1e3, clip_low=0.2
  )
  # Only that token: the other ratios are 1.
  glitch = np.where(glitch == batch.log_probs, batch.behavior, glitch)
  loss, metrics, slope = run(call, jnp.asarray(glitch, jnp.float32))
  assert np.isfinite(loss.total) and np.all(np.isfinite(slope))
  extra = metrics["ratio"].total - (metrics["ratio"].weight - 1)
  np.testing.assert_allclose(extra, ratio, rtol=1e-2, atol=1e-4)
  if abs(gap) > np.log(1e3):
    assert slope[0, 1, 0] == 0


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
