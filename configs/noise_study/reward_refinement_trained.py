"""Padding steps that a trained judge of steps likes, and that cost success.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/reward_refinement_trained.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "reward_refinement_trained"
  config.slug = "reward_refinement_trained"
  config.options = dict(
      seed=0,
      num_seeds=5,
      most=7,  # padding steps
      useful=4,
      success=0.8,
      cost=0.08,  # of success per padding step
      dimensions=8,
      distance=3.0,  # of the centres of right, wrong and padding from 0
      hidden=16,
      num_labelled=400,  # solutions
      judge_steps=200,
      judge_rate=0.01,
      weight=0.2,
      group_size=16,
      num_steps=300,
      learning_rate=1.0,
      below=0.4,
      within=0.02,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_steps=3, num_labelled=16, judge_steps=2)
    )
  return config
