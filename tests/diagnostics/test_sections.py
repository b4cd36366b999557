import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import scoring, sections
from tests import variants

NAN = jnp.nan


def test_sections_are_weighted_means():
  metrics = {"a": 1.0, "b": 0.5, "other": 0.0}
  counts = {"a": 1, "b": 3, "c": 9}
  scores = sections.section_scores(
      metrics, counts, {"both": ["a", "b", "c"], "one": ["b"], "none": ["c"]}
  )
  assert scores == {"both": 0.625, "one": 0.5, "none": 0.0}
  with pytest.raises(ValueError, match="counts lacks 'other'"):
    sections.section_scores(metrics, counts, {"x": ["a", "other"]})


@variants.every
def test_ties_score_by_hand(variant):
  """Reference rows [3 | 1, 0] and [1 | 1.5, 0], tied ones [3, 2.5 | 1, 0] and
  [2, 1 | .5, 0], and a prompt without either."""
  rows = lambda *x: jnp.array([x, x])
  reference, tied = rows(2.0, -0.5, NAN), rows(1.5, 0.5, NAN)
  spread = rows(0.5, 1.0, NAN)
  mask = rows(True, True, False)
  found = variant(sections.ties_score)(reference, tied, spread, mask, mask)
  expected = (0.5, 1.0, 0.5, 0.5, 0.029440, 0.650294)
  for part, value in zip(found, expected):
    np.testing.assert_allclose(part, value, atol=1e-6)


def test_ties_score_from_scores():
  rows = jnp.array([[3.0, 1.0, 0.0], [1.0, 1.5, 0.0]])
  reference = scoring.margins(rows, jnp.array([1, 1]))
  tied = scoring.margins(
      jnp.array([[3.0, 2.5, 1.0, 0.0], [2.0, 1.0, 0.5, 0.0]]), jnp.array([2, 2])
  )
  found = sections.ties_score(reference.gap, tied.gap, tied.spread)
  assert found.score == pytest.approx(0.650294, abs=1e-6)


@pytest.mark.parametrize(
    "reference, tied, margin", [(1.0, 2.0, 1), (-1.0, 2.0, -1), (0.0, 1.0, 0)]
)
def test_equal_right_answers_leave_no_spread(reference, tied, margin):
  found = sections.ties_score(*(jnp.array([x]) for x in (reference, tied, 0.0)))
  assert found.margin == margin and np.isfinite(found.score)
  assert found.preferred == 1 and found.preferred_hard == float(reference > 0)


def test_the_best_ties_score_exceeds_one():
  found = sections.ties_score(jnp.ones(2), jnp.ones(2), jnp.zeros(2))
  assert found.score == pytest.approx(1.01)


def test_prompts_with_one_row_count_only_for_their_accuracy():
  found = sections.ties_score(
      jnp.array([1.0, NAN]),
      jnp.array([NAN, 1.0]),
      jnp.array([NAN, 0.0]),
      jnp.array([True, False]),
      jnp.array([False, True]),
  )
  assert tuple(found)[:5] == (1, 1, 0, 0, 0)
  assert found.score == pytest.approx(0.6)


@variants.every
def test_first_below_by_hand(variant):
  scores = jnp.array([[0.9, 0.4, 0.2, NAN], [0.9, 0.5, 0.7, NAN]])
  mask = jnp.array([[True] * 3 + [False]] * 2)
  found = variant(sections.first_below)(scores, mask, threshold=0.5)
  np.testing.assert_array_equal(found, [1, -1])
  np.testing.assert_array_equal(
      sections.first_below(scores, threshold=0.0), [3, 3]
  )


@variants.every
def test_process_f1_by_hand(variant):
  predicted = jnp.array([[1, 2, -1, -1, 0, 5], [0, 0, 0, 0, 0, 0]])
  labels = jnp.array([[1, 1, -1, -1, -1, 9], [1, 2, 3, 1, -1, 9]])
  mask = jnp.array([[True] * 5 + [False]] * 2)
  found = variant(sections.process_bench_f1)(predicted, labels, mask)
  np.testing.assert_allclose(found.erroneous, [1 / 2, 0])
  np.testing.assert_allclose(found.correct, [2 / 3, 0], rtol=1e-6)
  np.testing.assert_allclose(found.f1, [4 / 7, 0], rtol=1e-6)


def test_process_f1_needs_both_kinds():
  """At threshold 0 nothing is ever wrong: F1 is 0 however many are right."""
  scores, labels = jnp.full((3, 2), 0.5), jnp.array([-1, -1, 1])
  at = lambda threshold: sections.process_bench_f1(
      sections.first_below(scores, threshold=threshold), labels
  )
  assert at(0.0) == (0, 1, 0)
  only = sections.process_bench_f1(jnp.array([-1]), jnp.array([-1]))
  assert only.f1 == 0


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'tied_gaps': \(3,\)"):
    sections.ties_score(jnp.ones(2), jnp.ones(3), jnp.ones(2))
  with pytest.raises(ValueError, match=r"'labels': \(3,\)"):
    sections.process_bench_f1(jnp.ones(2, int), jnp.ones(3, int))
  with pytest.raises(ValueError, match=r"first_below: .*'mask': \(3,\)"):
    sections.first_below(jnp.ones(2), jnp.ones(3, bool), threshold=0.5)
