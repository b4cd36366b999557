import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import out_of_distribution, probing
from tests import variants

out_of_distribution = variants.programs(out_of_distribution)
probing = variants.programs(probing)

LABELS = jnp.arange(60) % 3
MASK = jnp.arange(60) < 57


def test_one_hot_features_are_read_without_an_error():
  features = 5.0 * jax.nn.one_hot(LABELS, 3)
  features = jnp.where(MASK[:, None], features, jnp.nan)
  weights = probing.linear_probe(features, LABELS, MASK, num_classes=3)
  score = probing.probe_score(weights, features, LABELS, MASK)
  np.testing.assert_array_equal(score, 1)


def test_shuffled_labels_are_a_guess():
  draw = np.random.default_rng(0)
  features = jnp.asarray(draw.normal(size=(1200, 4)), jnp.float32)
  labels = jnp.asarray(draw.integers(0, 3, 1200))
  weights = probing.linear_probe(features[:600], labels[:600], num_classes=3)
  score = probing.probe_score(weights, features[600:], labels[600:])
  error = 3 * np.sqrt(1 / 3 * 2 / 3 / 600)
  np.testing.assert_allclose(score, 1 / 3, atol=error)


def test_the_scale_of_the_features_does_not_matter():
  draw = np.random.default_rng(1)
  features = jnp.asarray(draw.normal(size=(90, 4)), jnp.float32)
  labels = (features[:, 0] + 0.3 * features[:, 1] > 0).astype(int)
  small, large = (
      probing.linear_probe(scale * features, labels, num_classes=2)
      for scale in (1e-3, 1e3)
  )
  np.testing.assert_allclose(small * 1e-3, large * 1e3, rtol=1e-4, atol=1e-5)


def test_always_naming_the_majority():
  labels = jnp.array([0] * 9 + [1])
  features = jnp.ones((10, 1))
  score = probing.probe_score(jnp.array([[1.0, 0.0]]), features, labels)
  np.testing.assert_allclose(score, [0.9, 0.5], rtol=1e-6)
  # A class that no row has does not count.
  three = jnp.array([[1.0, 0.0, 0.0]])
  np.testing.assert_allclose(
      probing.probe_score(three, features, labels).balanced, 0.5
  )


def test_probing_leaves_the_encoder_alone():
  def read(encoder):
    features = jax.nn.one_hot(LABELS, 3) @ encoder
    weights = probing.linear_probe(
        features, LABELS, num_classes=3, num_steps=2
    )
    return jnp.sum(weights)

  np.testing.assert_array_equal(variants.grad(read)(jnp.eye(3)), 0)


@variants.op_by_op()
def test_centroids_by_hand():
  features = jnp.array([[0.0, 2.0], [2.0, 4.0], [1.0, 1.0], [jnp.nan] * 2])
  mask = jnp.array([True, True, True, False])
  found = probing.class_centroids(
      features, jnp.array([0, 0, 2, 2]), mask, num_groups=4
  )
  np.testing.assert_array_equal(found, [[1, 3], [0, 0], [1, 1], [0, 0]])
  distance = out_of_distribution.centroid_distance(found[:1], found)
  assert distance[0, 0] == 0 and np.all(distance[0, 1:] > 0)


def test_names_bad_arguments(no_jaxtyping):
  features = jnp.ones((60, 3))
  with pytest.raises(ValueError, match=r"num_classes must be in \[2"):
    probing.linear_probe(features, LABELS, num_classes=1)
  with pytest.raises(ValueError, match=r"'labels': \(60,\)"):
    probing.linear_probe(features[1:], LABELS, num_classes=3)
  with pytest.raises(ValueError, match=r"probe_score: .*'mask': \(59,\)"):
    probing.probe_score(jnp.ones((3, 2)), features, LABELS, MASK[1:])
  with pytest.raises(ValueError, match=r"class_centroids: .*'groups': \(59,\)"):
    probing.class_centroids(features, LABELS[1:], num_groups=3)
