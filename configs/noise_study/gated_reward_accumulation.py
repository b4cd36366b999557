"""Eight turns: explore for small pay, fix, submit.

An outcome of -1 without submission, 0.5 if it fails, 2 if it passes.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/gated_reward_accumulation.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "gated_reward_accumulation"
  config.slug = "gated_reward_accumulation"
  config.options = dict(
      seed=0,
      num_seeds=5,
      turns=8,
      fixes=0.5,  # chance that a fix works
      ends=0.1,  # chance that the episode is cut, per turn
      outcomes=(-1.0, 0.5, 2.0),
      immediate=0.5,
      threshold=1.0,
      group_size=64,
      num_steps=300,
      learning_rate=1.0,
      margin=0.2,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
