"""Agents who randomise what they do, and what others learn from it.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/dp_sequential.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "dp_sequential"
  config.slug = "dp_sequential"
  config.options = dict(
      seed=0,
      num_seeds=5,
      sizes=(100, 1000, 10_000, 100_000),
      epsilons=(0.5, 0.9),
      num_runs=200,
      num_agents=2000,
      accuracy=0.7,
      herd_epsilons=(0.5, 1.0, 2.0),
      num_herds=2000,  # of each seed: ten thousand in all
      herd_length=300,
      within=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2, sizes=(5, 10), num_runs=4, num_agents=3,
            num_herds=4, herd_length=3, epsilons=(0.5,), herd_epsilons=(1.0,),
        )
    )
  return config
