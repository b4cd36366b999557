"""Verdicts flipped for whole groups, or sample by sample.

64 prompts of 8 arms, one of them right, 8 samples each.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/climb_noisy_rewards.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "climb_noisy_rewards"
  config.slug = "climb_noisy_rewards"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=64,
      num_arms=8,
      flips=(0.0, 0.2, 0.4, 0.5),
      group_size=8,
      num_steps=150,
      early=40,
      learning_rate=1.0,
      reaches=0.7,
      times=3.0,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2, num_prompts=4, flips=(0.4, 0.5), num_steps=3, early=2
        )
    )
  return config
