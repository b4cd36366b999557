"""E1: one pair of error rates for all prompts; corrections change the step.

64 prompts of 8 arms, no baseline except where a method names one.
Run: python -m experiments.noise_study \\
  --config=configs/noise_study/uniform_noise.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "uniform_noise"
  config.slug = "noise_study_e1"
  large = dict(num_steps=100, group_size=4, learning_rate=8.0)
  small = dict(num_steps=50, group_size=8, learning_rate=1.0)
  rates = lambda fp, fn: dict(false_positive=fp, false_negative=fn)
  config.options = dict(
      seed=0,
      num_seeds=20,
      num_prompts=64,
      num_arms=8,
      settings=dict(
          light_large_steps=rates(0.1, 0.2) | large,
          medium_large_steps=rates(0.2, 0.4) | large,
          heavy_large_steps=rates(0.3, 0.4) | large,
          heavy_small_steps=rates(0.3, 0.4) | small,
          clean_small_steps=rates(0.0, 0.0) | small,
      ),
      methods=dict(
          raw=dict(correction="none", normalization="none"),
          backward=dict(correction="backward", normalization="none"),
          forward=dict(correction="forward", normalization="none"),
          raw_leave_one_out=dict(
              correction="none", normalization="leave_one_out"
          ),
          grpo=dict(correction="none", normalization="standardized"),
      ),
      # What the criterion asks for, by setting.
      margins=dict(
          medium_large_steps=0.05,
          heavy_large_steps=0.05,
          heavy_small_steps=0.1,
      ),
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_prompts=4))
    for name in ("raw_leave_one_out", "grpo"):
      del config.options.methods[name]
    for setting in config.options.settings.values():
      setting.num_steps = 3
  return config
