import numpy as np
import pytest
import scipy.spatial

from rewardjax.data import hulls

SQUARE = np.array([[0, 0], [1, 0], [0.5, 0.5], [1, 1], [0, 1.0]])


def test_a_square_keeps_its_corners():
  assert hulls.convex_hull_augment(SQUARE).tolist() == [0, 1, 3, 4]


def test_only_the_two_main_directions_count():
  """Turned into ten dimensions, with little noise in the others."""
  random = np.random.default_rng(0)
  turn, _ = np.linalg.qr(random.normal(size=(10, 10)))
  points = np.hstack([SQUARE * [3, 2], 1e-3 * random.normal(size=(5, 8))])
  assert hulls.convex_hull_augment(points @ turn).tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("seed", range(5))
def test_against_qhull(seed):
  points = np.random.default_rng(seed).normal(size=(30, 2))
  expected = sorted(scipy.spatial.ConvexHull(points).vertices)
  assert hulls.convex_hull_augment(points).tolist() == expected


def test_lines_points_and_repeats():
  line = np.arange(5.0)[:, None] * [0.1, 0.3, 0.7]
  assert hulls.convex_hull_augment(line).tolist() == [0, 4]
  assert hulls.convex_hull_augment(np.full((3, 4), 1e8)).tolist() == [0]
  assert hulls.convex_hull_augment(np.zeros((2, 1))).tolist() == [0]
  numbers = np.array([[1.0], [3.0], [2.0]])
  assert hulls.convex_hull_augment(numbers).tolist() == [0, 1]
  twice = np.concatenate([SQUARE, SQUARE])
  assert hulls.convex_hull_augment(twice).tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "bad", [np.zeros(3), np.zeros((0, 2)), np.full((2, 2), np.nan)]
)
def test_names_bad_arguments(bad):
  with pytest.raises(ValueError, match=r"embeddings must be \[V, D\] and fin"):
    hulls.convex_hull_augment(bad)
