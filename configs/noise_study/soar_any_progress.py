"""A teacher paid by its student's progress, however small: any is kept.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/soar_any_progress.py
"""

import ml_collections as mlc

from configs.noise_study import soar


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = soar.get_config(size)
  config.study = "soar_any_progress"
  config.slug = "soar_any_progress"
  config.options.threshold = 0.0  # of 0.01 a student at 1e-6 is never kept
  return config
