"""What a plain and a differential reward teach about a flipped prompt.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/small_edits.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "small_edits"
  config.slug = "small_edits"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_tasks=12,
      num_answers=4,
      group_size=8,
      num_steps=300,
      learning_rate=0.5,
      high=0.5,
      low=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
