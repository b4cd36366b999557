"""Where policy gradient ends under KL penalties, and the path without one.

Also writes docs/figures/frontier_kl.png with --write_results.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/frontier_kl.py --write_results
"""

import ml_collections as mlc

from configs.reward_study import frontier


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = mlc.ConfigDict()
  config.study = "frontier_kl"
  config.slug = "frontier_kl"
  config.keep_figures = ("frontier_kl",)
  # The same members as in the frontier without a penalty.
  config.options = dict(
      seed=0,
      num_seeds=6,
      model=frontier.get_config(size).options.model,
      limit=5.5,
      num_reference=4096,
      penalties=(0.0, 0.01, 0.03, 0.1, 0.3, 1.0),
      coefficient=0.5,
      std_coefficient=1.0,
      num_steps=300,
      num_samples=128,
      learning_rate=0.03,
      num_read=128,
      every=3,
      tail=6,
      grid=(0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96),
      within=0.2,
      falls=0.2,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_reference=16, penalties=(0.0, 0.1), num_steps=4,
             num_samples=8, num_read=4, every=2, tail=1, grid=(0.0, 1e-4))
    )
  return config
