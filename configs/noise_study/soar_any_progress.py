"""A teacher paid by its student's progress, however small: any is kept.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/soar_any_progress.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "soar_any_progress"
  config.slug = "soar_any_progress"
  config.options = dict(
      seed=0,
      num_seeds=10,
      num_skills=5,
      skill=-2.7,  # .063 each, all five at once one in a million
      num_steps=60,
      num_sets=4,
      set_size=32,
      inner_steps=10,
      num_repeats=2,
      group_size=16,
      learning_rate=5.0,
      teacher_rate=2.0,
      threshold=0.0,  # of 0.01 a student at 1e-6 is never kept
      times=5.0,
      direct_below=1e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=2))
  return config
