"""Twelve simulated models on copies of the rows that come with the package.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/rewardbench2.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rewardbench2"
  config.slug = "rewardbench2"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_models=12,
      num_copies=20,
      skill=(0.0, 2.0),
      policy=dict(num_prompts=300, num_samples=64, rate=0.3),
      high=0.9,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_models=3, num_copies=1,
        policy=dict(num_prompts=8, num_samples=4),
    ))
  return config
