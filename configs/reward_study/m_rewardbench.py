"""A simulated model that reads eight languages less and less well.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/m_rewardbench.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "m_rewardbench"
  config.slug = "m_rewardbench"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_languages=8,
      rows_per_subset=20,
      skill=1.0,
      most_noise=2.0,
      least=0.8,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_languages=3, rows_per_subset=1,
    ))
  return config
