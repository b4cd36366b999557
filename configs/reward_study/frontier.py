"""Proxy and true reward over KL, by best-of-n and by policy gradient.

Also writes docs/figures/overoptimization_frontier.png with --write_results.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/frontier.py --write_results
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "frontier"
  config.slug = "frontier"
  config.keep_figures = ("overoptimization_frontier",)
  config.options = dict(
      seed=0,
      num_seeds=5,
      limit=5.5,
      num_prompts=8,
      num_candidates=4096,
      sizes=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
      grid=(0.0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
      coefficient=0.5,
      std_coefficient=1.0,
      num_steps=300,
      num_samples=128,
      rl_rate=0.03,
      penalty=0.0,
      num_read=64,
      falls=0.2,
  )
  config.options.model = dict(
      dim=16,
      num_pairs=600,
      flip_rate=0.25,
      num_members=5,
      width=64,
      activation="relu",
      num_steps=1000,
      batch_size=64,
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=2, num_candidates=16, sizes=(1, 8),
             grid=(0.0, 1e-4), num_steps=4, num_samples=8, num_read=4)
    )
    config.options.model.update(
        dict(num_pairs=16, batch_size=8, width=8, num_members=2, num_steps=2)
    )
  return config
