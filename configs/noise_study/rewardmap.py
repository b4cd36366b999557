"""Routes on a small map, learned from scratch; three lines of four stops.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/rewardmap.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rewardmap"
  config.slug = "rewardmap"
  config.options = dict(
      seed=0,
      num_seeds=5,
      city=dict(seed=0, num_lines=3, stops=4),
      width=32,
      boundaries=(200, 400),  # steps of easy questions, then direct routes
      learning=dict(
          num_steps=600,
          learning_rate=0.02,
          batch_size=32,
          group_size=8,
      ),
      margin=0.15,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2,
            city=dict(seed=0, num_lines=2, stops=2),
            width=4,
            boundaries=(1, 2),
            learning=dict(
                num_steps=3,
                learning_rate=0.01,
                batch_size=2,
                group_size=2,
            ),
        )
    )
  return config
