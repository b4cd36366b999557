"""A bandit over six sources, from solved to impossible.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/dump_curriculum.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "dump_curriculum"
  config.slug = "dump_curriculum"
  config.options = dict(
      seed=0,
      num_seeds=5,
      chances=(0.98, 0.5, 0.2, 0.05, 0.01, 1e-6),
      prompts_per_source=20,
      num_arms=10,
      batch_size=24,
      group_size=8,
      num_steps=150,
      learning_rate=1.0,
      window=300,
      temperature=0.1,
      checked=(50, 150),
      margin=0.02,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=4, checked=(2, 4)))
  return config
