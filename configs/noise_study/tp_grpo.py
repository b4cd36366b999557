"""A chain of three slots whose values can be written again.

What a later step revises was wrong: that alone labels the steps.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/tp_grpo.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "tp_grpo"
  config.slug = "tp_grpo"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_slots=3,
      num_values=4,
      num_prompts=4,
      group_size=8,
      num_steps=200,
      learning_rate=0.05,
      level=0.8,
      share=0.8,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
