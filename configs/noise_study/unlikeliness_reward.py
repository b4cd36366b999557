"""Rare right answers: GRPO, the unlikeliness reward, several epochs.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/unlikeliness_reward.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "unlikeliness_reward"
  config.slug = "unlikeliness_reward"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=64,
      num_arms=32,
      num_right=5,
      spread=1.0,
      group_size=32,
      num_steps=60,
      # The least power of two with which plain GRPO ends above an accuracy
      # of 0.996; chosen by that alone.
      learning_rate=2.0,
      coefficient=0.25,
      epochs=3,
      samples=64,
      each=0.02,
      both=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=2, epochs=2, num_steps=3)
    )
  return config
