"""Texts for three captions: R, U and RU, 5 seeds.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/music_rl.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "music_rl"
  config.slug = "music_rl"
  config.options = dict(
      seed=0,
      num_seeds=5,
      length=10,
      spread=0.5,
      style=0.5,
      num_reference=500,
      users=dict(
          num_pairs=300,
          sharpness=1.0,
          fit=dict(
              num_steps=300, batch_size=100, learning_rate=3e-3, decay=0.1
          ),
      ),
      stage=dict(
          group_size=32,
          num_steps=15,  # with 150 every policy wins always
          learning_rate=0.03,
          kl_coefficient=0.1,
      ),
      num_test=500,
      wins=0.65,
      explained=0.9,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, length=3, num_reference=20, num_test=20)
    )
    config.options.stage.num_steps = 2
    config.options.users.num_pairs = 50
    config.options.users.fit.num_steps = 2
  return config
