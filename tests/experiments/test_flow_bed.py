import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import flow

KEY = jax.random.key(0)


def test_ring_lies_near_its_modes():
  points = np.asarray(flow.ring(KEY, 4000))
  centres = np.asarray(flow.centres())
  np.testing.assert_allclose(centres[0], [2, 0], atol=1e-6)
  gaps = np.linalg.norm(points[:, None] - centres, axis=-1)
  shares = np.bincount(gaps.argmin(-1), minlength=8) / 4000
  np.testing.assert_allclose(shares, 1 / 8, atol=0.03)
  # The mean length of a Gaussian in the plane.
  expected = 0.15 * np.sqrt(np.pi / 2)
  np.testing.assert_allclose(gaps.min(-1).mean(), expected, rtol=0.05)


def test_digits_differ_and_move_inside_the_frame():
  glyphs = np.asarray(flow.digits())
  assert len({x.tobytes() for x in glyphs}) == 10
  assert glyphs.sum((1, 2)).tolist() == [12, 8, 11, 11, 9, 11, 12, 7, 13, 12]
  labels = jnp.arange(10).repeat(20)
  moved = np.asarray(flow.draw_digits(KEY, labels))
  np.testing.assert_array_equal(
      moved.sum((1, 2)), glyphs.sum((1, 2)).repeat(20)
  )
  assert len({x.tobytes() for x in moved[:20]}) == 4  # places
  flipped = np.asarray(flow.draw_digits(KEY, labels, flips=0.1))
  np.testing.assert_allclose(np.mean(flipped != moved), 0.1, atol=0.02)
