"""A chain of ten steps, two of them decisive, four actions.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/oprl.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "oprl"
  config.slug = "oprl"
  config.options = dict(
      seed=0,
      num_seeds=5,
      length=10,
      num_actions=4,
      decisive=(2, 6),
      num_prompts=4,
      group_size=8,
      num_steps=60,
      # Outcomes alone are then near a half in the window (on other seeds, and
      # before the comparison): at 0.1 they are near 1, with nothing to gain.
      policy_rate=0.035,
      reward_rate=0.1,
      coefficient=0.05,
      window=(20, 40),
      margin=0.3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=4, window=(1, 3)))
  return config
