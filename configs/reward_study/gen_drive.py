"""Paths past a moving disc: best of 16, and fine-tuning; 5 seeds.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/gen_drive.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "gen_drive"
  config.slug = "gen_drive"
  config.options = dict(
      seed=0,
      num_seeds=5,
      widths=(96, 96),
      denoising_steps=10,
      num_recorded=2048,
      driving=dict(num_steps=600, batch_size=128, learning_rate=3e-3),
      judging=dict(
          num_pairs=1000,
          flips=0.15,
          width=32,
          num_steps=300,
          batch_size=100,
          learning_rate=3e-3,
      ),
      reinforcing=dict(
          num_contexts=16,
          group_size=16,
          num_steps=60,
          learning_rate=3e-4,
      ),
      anchors=(0.1, 10.0),
      num_test=64,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, widths=(8,), denoising_steps=2, num_test=4)
    )
    config.options.driving.num_steps = 2
    config.options.judging.num_steps = 2
    config.options.reinforcing.update(
        dict(num_contexts=2, group_size=2, num_steps=2)
    )
  return config
