"""E3: a verifier that one wrong answer fools nine times out of ten.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/hackable_verifier.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "hackable_verifier"
  config.slug = "noise_study_e3"
  loo = lambda correction, believes: dict(
      correction=correction, normalization="leave_one_out", believes=believes
  )
  config.options = dict(
      seed=0,
      num_seeds=20,
      num_arms=8,
      exploit=0.9,  # false-positive rate on the wrong arm that fools it
      false_positive=0.05,
      false_negative=0.3,
      num_steps=300,
      group_size=64,
      learning_rate=2.0,
      methods=dict(
          raw=loo("none", "truth"),
          uniform_backward=loo("backward", "uniform"),
          instance_backward=loo("backward", "truth"),
      ),
      high=0.95,
      low=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
