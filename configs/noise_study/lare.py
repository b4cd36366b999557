"""Step rewards from returns: raw observations, factors, equal shares.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/lare.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "lare"
  config.slug = "lare_decomposition"
  config.options = dict(
      seed=0,
      num_seeds=10,
      length=20,
      dimensions=40,
      episodes=(20, 50, 200),
      sources=("tanh(obs[3])", "tanh(2 * obs[17])"),
      least=0.95,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, episodes=(5, 8)))
  return config
