"""GRPO on prompts with a memorised answer, under true and untrue rewards.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/random_calculation.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "random_calculation"
  config.slug = "random_calculation_rewards"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=20,
      num_arms=10,
      clean=0.128,
      memorised=0.365,
      group_size=16,
      num_steps=200,
      num_epochs=4,
      learning_rate=0.5,
      clip=0.2,
      improves=0.2,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3, num_epochs=2))
  return config
