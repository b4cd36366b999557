"""Proxies that like artefacts, on vectors and on 8 x 8 digits; 10 seeds.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/t2i_reward_hacking.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "t2i_reward_hacking"
  config.slug = "t2i_reward_hacking"
  config.options = dict(
      seed=0,
      num_seeds=10,
      vectors=dict(num_prompts=64, num_samples=256, noise=0.5),
      pictures=dict(
          rewards=dict(
              num_pictures=1000, width=32, num_steps=300, learning_rate=0.01
          ),
          spoiled=0.3,
          group_size=16,
          num_steps=200,
          learning_rate=0.1,
          num_test=64,
      ),
  )
  if size == "tiny":  # what the tests run
    config.options.num_seeds = 2
    config.options.pictures.num_steps = 2
    config.options.pictures.rewards.update(
        dict(num_pictures=100, num_steps=2)
    )
  return config
