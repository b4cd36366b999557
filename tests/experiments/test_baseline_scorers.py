import pytest

from experiments import baseline_scorers


def test_by_hand():
  prompts, texts = ["how tall is it", "x"], ["it is tall it is", ""]
  assert baseline_scorers.length(prompts, texts, meta=[{}, {}]) == [16, 0]
  assert baseline_scorers.brevity(prompts, texts) == [-16, 0]
  overlap = baseline_scorers.overlap(["A b"], ["a c"], meta=[{}])
  assert overlap == [pytest.approx(0.5)]
  assert baseline_scorers.overlap(prompts, texts) == [1, 0]
