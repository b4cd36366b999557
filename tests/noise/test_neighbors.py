import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import statistics
from rewardjax.noise import neighbors
from tests import variants

statistics = variants.programs(statistics)
neighbors = variants.programs(neighbors)

RNG = np.random.default_rng(0)


def slow_nearest(x, pool, k):
  distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
  np.fill_diagonal(distance, np.inf)
  distance[:, ~pool] = np.inf
  return np.argsort(distance, axis=1)[:, :k]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_neighbours_are_those_of_a_full_sort(block):
  x = RNG.normal(size=(40, 3)).astype(np.float32) + 50  # far from 0
  pool = RNG.random(40) < 0.7
  found = neighbors.nearest(jnp.asarray(x), jnp.asarray(pool), k=5, block=block)
  expected = slow_nearest(x.astype(np.float64), pool, 5)
  np.testing.assert_array_equal(found.indices, expected)
  assert np.all(found.mask)


def test_self_is_never_a_neighbour_even_among_copies():
  found = neighbors.nearest(jnp.zeros((4, 2)), k=3)
  assert not np.any(found.indices == np.arange(4)[:, None])


def test_small_pools_leave_the_rest_masked():
  x = jnp.arange(4.0)[:, None]
  pool = jnp.array([True, False, True, False])
  found = neighbors.nearest(x, pool, k=6)
  np.testing.assert_array_equal(np.sum(found.mask, 1), [1, 2, 1, 2])
  share = neighbors.neighbor_share(found, jnp.array([True] + [False] * 3))
  np.testing.assert_allclose(share, [0, 0.5, 1, 0.5])
  empty = neighbors.nearest(x, jnp.zeros(4, bool), k=2)
  assert not np.any(empty.mask)
  label = neighbors.neighbor_label(
      empty, jnp.zeros(4, int), num_classes=2
  )
  np.testing.assert_array_equal(label, -1)


def test_a_row_of_nan_is_nobodys_neighbour():
  x = jnp.array([[0.0], [jnp.nan], [1.0]])
  found = jax.device_get(neighbors.nearest(x, k=2))
  np.testing.assert_array_equal(found.mask[0], [True, False])
  assert found.indices[0, 0] == 2 and found.indices[2, 0] == 0


@variants.op_by_op()
def test_knn_label_noise_by_hand():
  x = jnp.array([[0.0], [1.0], [1.5], [9.0]])
  labels = jnp.array([0, 1, 1, 2])
  share, label = neighbors.knn_label_noise(x, labels, k=2, num_classes=3)
  # Neighbours: (1, 2), (2, 0), (1, 0), (2, 1); ties go to the lower label.
  np.testing.assert_allclose(share, [1, 0.5, 0.5, 1])
  np.testing.assert_array_equal(label, [1, 0, 0, 1])


def blobs(num=200, num_classes=4, spread=0.3, seed=0):
  """Well separated classes; class 0 is the negative one."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, num_classes, num)
  centres = 4 * np.eye(num_classes)
  x = centres[labels] + spread * rng.normal(size=(num, num_classes))
  return x.astype(np.float32), labels


def test_clean_separated_data_is_not_suspicious():
  x, labels = blobs()
  sizes = dict(k=5, num_classes=4)
  share, label = neighbors.knn_label_noise(x, labels, **sizes)
  assert not np.any(share) and np.all(label == labels)
  assert not np.any(
      neighbors.intrinsic(x, labels, labels, **sizes).suspicious
  )
  trusted = np.arange(200) % 3 == 0
  found = neighbors.extrinsic(x, labels, trusted, positives=True, **sizes)
  assert not np.any(found.suspicious)


def hidden(seed=1):
  """A third of the positives relabelled negative."""
  x, truth = blobs(seed=seed)
  hit = (np.random.default_rng(seed).random(200) < 0.3) & (truth != 0)
  return x, truth, np.where(hit, 0, truth), hit


def test_intrinsic_finds_hidden_positives_and_names_them():
  x, truth, noisy, hit = hidden()
  found = neighbors.intrinsic(x, noisy, truth, k=5, num_classes=4)
  np.testing.assert_array_equal(found.suspicious, hit)
  np.testing.assert_array_equal(neighbors.reannotate(noisy, found), truth)
  np.testing.assert_array_equal(neighbors.eliminate(found), ~hit)
  np.testing.assert_array_equal(found.label[~hit], -1)
  # Without the model's doubt nothing is a candidate.
  none = neighbors.intrinsic(x, noisy, noisy, k=5, num_classes=4)
  assert not np.any(none.suspicious)


def test_extrinsic_asks_trusted_rows_only():
  x, truth, noisy, hit = hidden()
  # One class is trusted not at all: its errors have only strangers around.
  trusted = ~hit & (truth != 3)
  found = neighbors.extrinsic(x, noisy, trusted, k=5, num_classes=4)
  seen = hit & (truth != 3)
  np.testing.assert_array_equal(found.suspicious & (truth != 3), seen)
  np.testing.assert_array_equal(found.label[seen], truth[seen])
  assert not np.any(found.suspicious & trusted)


def test_extrinsic_judges_positives_only_when_asked():
  x, truth = blobs()
  wrong = truth.copy()
  wrong[np.argmax(truth == 1)] = 2
  trusted = wrong == truth
  sizes = dict(k=5, num_classes=4)
  assert not np.any(
      neighbors.extrinsic(x, wrong, trusted, **sizes).suspicious
  )
  found = neighbors.extrinsic(x, wrong, trusted, positives=True, **sizes)
  np.testing.assert_array_equal(found.suspicious, wrong != truth)
  np.testing.assert_array_equal(neighbors.reannotate(wrong, found), truth)


def test_micro_f1_by_hand():
  predicted, labels = jnp.array([0, 1, 2, 1]), jnp.array([0, 1, 1, 0])
  # One hit, three found, two to be found.
  f1 = statistics.micro_f1(predicted, labels, negative_class=0)
  np.testing.assert_allclose(f1, 2 / 5, rtol=1e-6)
  np.testing.assert_allclose(statistics.micro_f1(predicted, labels), 0.5)
  mask = jnp.array([True, True, False, True])
  f1 = statistics.micro_f1(predicted, labels, mask, negative_class=0)
  np.testing.assert_allclose(f1, 2 / 3, rtol=1e-6)
  nothing = statistics.micro_f1(labels * 0, labels * 0, negative_class=0)
  assert nothing == 0.0


def test_errors_name_the_argument(no_jaxtyping):
  x, labels = blobs(num=8)
  with pytest.raises(ValueError, match="k must be in"):
    neighbors.nearest(x, k=0)
  with pytest.raises(ValueError, match="least must be in"):
    neighbors.intrinsic(x, labels, labels, k=1, num_classes=4, least=2.0)
  with pytest.raises(ValueError, match=r"'trusted': \(3,\)"):
    neighbors.extrinsic(x, labels, jnp.ones(3, bool), k=1, num_classes=4)
