"""As `rm_ensembles`, with networks that extrapolate without a bound (ReLU).

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/rm_ensembles_unbounded.py
"""

import ml_collections as mlc

from configs.reward_study import rm_ensembles


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = rm_ensembles.get_config(size)
  config.study = "rm_ensembles_unbounded"
  config.slug = "rm_ensembles_unbounded"
  config.options.activation = "relu"
  return config
