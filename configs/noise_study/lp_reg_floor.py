"""Punished rare tokens of one batch, 200 steps, with and without Lp-Reg.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/lp_reg_floor.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "lp_reg_floor"
  config.slug = "lp_reg_floor"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=16,
      num_arms=32,
      spread=1.5,
      min_p=0.02,
      coefficient=1.0,
      num_steps=200,
      learning_rate=0.3,
      within=0.01,
      below=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
