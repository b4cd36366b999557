import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import links
from rewardjax.reward_models import process
from tests import variants

process = variants.programs(process)

NAN = jnp.nan
# Step sums (2, 1, 3) and (-1, 0, 1) at beta .05: the example of the table.
SCORES = 0.05 * jnp.array([[[2.0, 1.0, 3.0], [-1.0, 0.0, 1.0]]])
WINS = jnp.array([[True, False]])


@pytest.mark.parametrize(
    "reduction,expected", [("mean", 0.644397), ("sum", 0.554355)]
)
def test_pair_loss_of_the_table(reduction, expected):
  loss = process.trajectory_preference_loss(
      SCORES, WINS, reduction=reduction
  )
  assert loss.weight == 1
  np.testing.assert_allclose(loss.value, expected, atol=1e-6)


def test_all_pairs_within_a_prompt_and_only_there():
  random = np.random.default_rng(0)
  scores = random.normal(size=(3, 4, 2))
  wins = np.array([[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]], bool)
  mask = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
  step_mask = random.random((3, 4, 2)) < 0.8
  step_mask[..., 0] = True
  losses = []
  for b in range(3):
    q = [scores[b, g][step_mask[b, g]].mean() for g in range(4)]
    known = np.flatnonzero(mask[b])
    losses += [
        np.log1p(np.exp(q[j] - q[i]))
        for i in known for j in known if wins[b, i] and not wins[b, j]
    ]
  hidden = np.where(step_mask & mask[..., None], scores, np.nan)
  with jax.enable_x64(True):
    loss = process.trajectory_preference_loss(
        *map(jnp.array, (hidden, wins, mask, step_mask))
    )
  assert float(loss.weight) == len(losses) == 6
  np.testing.assert_allclose(loss.total, sum(losses), rtol=1e-12)


def test_a_constant_added_to_all_scores_changes_nothing():
  a = process.trajectory_preference_loss(SCORES, WINS)
  b = process.trajectory_preference_loss(SCORES + 3.0, WINS)
  np.testing.assert_allclose(a.value, b.value, rtol=1e-5)


def test_gradient_in_closed_form():
  value = lambda s: process.trajectory_preference_loss(s, WINS).value
  slope = variants.grad(value)(SCORES)
  pull = 1 / (1 + np.exp(0.1)) / 3  # sigmoid(-margin), over three steps
  np.testing.assert_allclose(slope, [[[-pull] * 3, [pull] * 3]], rtol=1e-5)


@pytest.mark.parametrize("wins", [[True, True], [False, False]])
def test_without_a_pair_there_is_no_update(wins):
  value = lambda s: process.trajectory_preference_loss(
      s, jnp.array([wins])
  ).value
  assert value(SCORES) == 0.0
  np.testing.assert_array_equal(variants.grad(value)(SCORES), 0.0)


def test_unknown_trajectories_and_padding_carry_nothing():
  scores = SCORES.at[0, 0, 2].set(NAN)
  step_mask = jnp.ones(scores.shape, bool).at[0, 0, 2].set(False)
  value = lambda s: process.trajectory_preference_loss(
      s, WINS, None, step_mask
  ).value
  slope = variants.grad(value)(scores)
  assert np.all(np.isfinite(slope)) and slope[0, 0, 2] == 0.0
  mask = jnp.array([[True, False]])
  assert process.trajectory_preference_loss(scores, WINS, mask).weight == 0


def test_the_link_is_finite_far_out():
  x = jnp.array([-1e4, 0.0, 1e4])
  np.testing.assert_allclose(links.logistic(x), [1e4, np.log(2), 0.0])
  slope = variants.grad(lambda x: jnp.sum(links.logistic(x)))(x)
  np.testing.assert_allclose(slope, [-1, -0.5, 0])


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="reduction must be one of mean, sum"):
    process.trajectory_preference_loss(SCORES, WINS, reduction="max")
  with pytest.raises(ValueError, match="'wins': \\(1, 3\\)"):
    process.trajectory_preference_loss(SCORES, jnp.ones((1, 3), bool))
