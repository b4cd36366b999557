"""Sums that are right only after a scratch pad, and a reward for the pad.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/climb_noisy_rewards_form.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "climb_noisy_rewards_form"
  config.slug = "climb_noisy_rewards_form"
  config.options = dict(
      seed=0,
      num_seeds=5,
      base=5,
      model=dict(width=32, num_layers=2, num_heads=4, mlp_width=64),
      pads=0.25,
      imitation=(500, 64, 5e-3),  # steps, batch, learning rate
      num_steps=60,
      num_prompts=16,
      group_size=8,
      learning_rate=1e-3,
      window=10,
      share=0.5,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2, base=2, imitation=(2, 4, 5e-3), num_steps=2,
            num_prompts=2, group_size=2, window=1,
            model=dict(width=4, num_layers=1, num_heads=1, mlp_width=4),
        )
    )
  return config
