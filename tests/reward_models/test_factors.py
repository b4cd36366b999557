import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import decomposition, factors

RNG = np.random.default_rng(0)
OBS = jnp.asarray(RNG.normal(size=(6, 5, 4)), jnp.float32)
ACT = jnp.asarray(RNG.normal(size=(6, 5, 2)), jnp.float32)


@pytest.mark.parametrize(
    "source, expected",
    [
        ("obs[0] * 2 - act[-1]", lambda o, a: o[..., 0] * 2 - a[..., -1]),
        (
            "norm(obs[0:2] - obs[2:])",
            lambda o, a: np.linalg.norm(o[..., :2] - o[..., 2:], axis=-1),
        ),
        ("-sum(act ** 2)", lambda o, a: -np.sum(a**2, axis=-1)),
        ("obs[1] > 0.5", lambda o, a: (o[..., 1] > 0.5) * 1.0),
        (
            "where(obs[0] > 0, max(act), min(act))",
            lambda o, a: np.where(o[..., 0] > 0, a.max(-1), a.min(-1)),
        ),
        ("exp(-abs(obs[3])) / 2", lambda o, a: np.exp(-abs(o[..., 3])) / 2),
        ("3", lambda o, a: np.full(o.shape[:-1], 3.0)),
    ],
)
def test_factors_are_what_they_say(source, expected):
  factor = jax.jit(factors.compile_factor(source))
  actual = factor(OBS, ACT)
  np.testing.assert_allclose(
      actual, expected(np.asarray(OBS), np.asarray(ACT)), rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').system('true')",
        "obs.__class__",
        "obs.sum()",
        "(lambda: 1)()",
        "[x for x in obs]",
        "open('x')",
        "eval('1')",
        "'text'",
        "obs[act]",
        "obs[::2]",
        "(obs + act)[0]",
        "obs ** obs",
        "2 ** 99999",
        "norm(obs, axis=0)",
        "1 < obs[0] < 2",
        "1e99",
        "True",
        "f'{obs}'",
        "x := obs",
        "import os",
        "",
        "(" * 300 + "1" + ")" * 300,
        "+".join(["obs[0]"] * 100),
    ],
)
def test_nothing_but_arithmetic_is_accepted(source):
  with pytest.raises(factors.FactorError):
    factors.compile_factor(source)


@pytest.mark.parametrize(
    "source, message",
    [
        ("obs", "gives shape"),
        ("obs[9]", r"obs\[9\] of 4 components"),
        ("obs + act", "does not run"),
        ("next_obs[0]", "next_obs is not given"),
        ("norm(obs, act)", "does not run"),
    ],
)
def test_what_does_not_fit_the_probe_says_why(source, message):
  factor = factors.compile_factor(source)
  with pytest.raises(factors.FactorError, match=message):
    factor(OBS, ACT)
  (report,) = factors.verify_factors([source], OBS, ACT)
  assert report.problem


def test_verification_by_hand():
  sources = ["obs[0]", "7", "1 / (obs[0] - obs[0])", "1e8 * obs[0]", "(("]
  reports = factors.verify_factors(sources, OBS, ACT)
  assert [bool(r.problem) for r in reports] == [False, True, True, True, True]
  assert "constant" in reports[1].problem and "finite" in reports[2].problem
  assert "beyond 1e+06" in reports[3].problem
  np.testing.assert_allclose(reports[0].std, np.std(OBS[..., 0]), rtol=1e-5)


def test_the_program_with_most_usable_factors_is_chosen():
  programs = [["obs[0]", "7"], ["obs[1]", "act[0]", "(("], []]
  chosen = factors.choose_program(programs, OBS, ACT)
  assert chosen == ("obs[1]", "act[0]")
  assert factors.choose_program([["1"]], OBS, ACT) == ()
  stacked = factors.apply_factors(chosen, OBS, ACT)
  np.testing.assert_array_equal(stacked[..., 1], ACT[..., 0])
  with pytest.raises(ValueError, match="must not be empty"):
    factors.apply_factors((), OBS, ACT)


def test_a_step_sees_itself_only():
  """Another order of the steps gives the same factors in that order."""
  source = "norm(obs) + mean(act) * max(obs)"
  factor = factors.compile_factor(source)
  order = jnp.array([3, 1, 4, 0, 2])
  np.testing.assert_array_equal(
      factor(OBS[:, order], ACT[:, order]), factor(OBS, ACT)[:, order]
  )


def test_norm_has_a_finite_gradient_at_zero():
  factor = factors.compile_factor("norm(obs)")
  slope = jax.grad(lambda x: factor(x, ACT[0, 0]))(jnp.zeros(4))
  np.testing.assert_array_equal(slope, 0.0)


def test_factors_identify_the_reward_where_raw_inputs_do_not():
  """T = 20, two of 40 dimensions matter: 20 episodes are enough for factors."""
  rng = np.random.default_rng(0)
  obs = jnp.asarray(rng.normal(size=(20, 20, 40)), jnp.float32)
  act = jnp.zeros((20, 20, 1))
  reward = obs[..., 3] - 2 * obs[..., 17]
  returns = jnp.sum(reward, axis=-1)
  correlation = {}
  for name, made in (
      ("factors", factors.apply_factors(("obs[3]", "obs[17]"), obs, act)),
      ("raw", obs),
  ):
    found = made @ decomposition.fit_linear(made, returns)
    correlation[name] = np.corrcoef(found.ravel(), reward.ravel())[0, 1]
  assert correlation["factors"] > 0.999
  assert 0.3 < correlation["raw"] < 0.9
