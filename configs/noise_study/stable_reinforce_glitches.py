"""Recorded log-probs that are off by 200 nats, on one token of twenty.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/stable_reinforce_glitches.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "stable_reinforce_glitches"
  config.slug = "stable_reinforce_glitches"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=16,
      num_arms=8,
      group_size=16,
      num_steps=200,
      learning_rate=1.0,
      glitches=0.05,
      size=200.0,
      accuracy=0.95,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
