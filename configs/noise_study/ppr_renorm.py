"""Five turns, four of them must be useful; the judge prefers verbose ones.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/ppr_renorm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "ppr_renorm"
  config.slug = "ppr_renorm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      turns=5,
      needed=4,
      scores=(0.6, 0.9, 0.2),  # useful, verbose, idle
      group_size=32,
      num_steps=200,
      learning_rate=0.5,
      within=0.02,
      above=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
