"""DCPO on 32 prompts with six right arms of sixteen: entropy by target.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/dcpo_entropy.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "dcpo_entropy"
  config.slug = "dcpo_entropy"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=32,
      num_arms=16,
      num_right=6,
      spread=1.0,
      group_size=16,
      num_steps=300,
      learning_rate=1.0,
      targets=(0.5, 1.0, 1.4),
      cap=0.5,
      samples=16,
      loss=0.01,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=2, targets=(0.5,), num_steps=3)
    )
  return config
