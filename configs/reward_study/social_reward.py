"""Two linear towers, and pairs of images by how popular they became.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/social_reward.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "social_reward"
  config.slug = "social_reward"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=12,
      embed=12,
      num_prompts=2000,
      surplus=6,
      num_test=4000,
      noise=1.0,
      temperature=0.1,
      gaps=(0.0, 1.0, 2.0),
      gain=0.1,
      near=0.02,
      learning_rate=0.01,
      num_steps=800,
      batch_size=100,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=16, surplus=2, num_test=8,
             num_steps=2, batch_size=8)
    )
  return config
