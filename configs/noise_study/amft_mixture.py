"""Imitation, exploration, and a learned mixture of both.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/amft_mixture.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "amft_mixture"
  config.slug = "amft_mixture"
  config.options = dict(
      seed=0,
      num_seeds=10,
      num_prompts=8,
      num_arms=64,
      start=-4.0,
      share=0.6,
      num_steps=300,
      group_size=16,
      learning_rate=1.0,
      step_size=10.0,
      reached=0.95,
      margin=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
