"""Twenty simulated models, some of which like a style more than the truth.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/rewardmath.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rewardmath"
  config.slug = "rewardmath"
  config.options = dict(
      seed=0,
      num_seeds=20,
      num_models=20,
      num_problems=483,
      num_rejected=9,
      skill=(0.0, 2.0),
      taste=3.0,
      policy=dict(num_prompts=300, num_samples=64, rate=0.3),
      low=0.3,
      high=0.9,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_models=4, num_problems=8,
        policy=dict(num_prompts=8, num_samples=4),
    ))
  return config
