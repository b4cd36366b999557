"""Padding steps that a process reward model likes, and that cost success.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/reward_refinement.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "reward_refinement"
  config.slug = "reward_refinement"
  config.options = dict(
      seed=0,
      num_seeds=5,
      most=7,  # padding steps
      success=0.8,
      cost=0.08,  # of success per padding step
      steps=(0.9, 0.8, 0.95, 0.7),
      padding=0.95,
      threshold=0.85,
      weight=0.2,
      group_size=16,
      num_steps=300,
      learning_rate=1.0,
      below=0.4,
      within=0.02,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
