"""Reference answers of 10 tokens, some corrupted; groups without information.

16 reasonings of 32 prompts, the log-likelihood of a clean token in [-1, -0.1].

Run: python -m experiments.noise_study \
  --config=configs/noise_study/rlpr.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rlpr"
  config.slug = "rlpr"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=32,
      num_chains=16,
      length=10,
      bad=(0, 1, 3),
      low=-1.0,
      high=-0.1,
      kinds=("mean_prob", "log_prob", "geometric", "prob"),
      group_size=16,
      num_steps=200,
      learning_rate=1.0,
      epsilon=1e-4,
      within=0.01,
      worse=0.05,
      snr=dict(
          num_prompts=32,
          group_size=8,
          signal=0.3,
          noise=0.02,
          factor=0.5,
          draws=512,
      ),
      gain=1.5,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2, num_prompts=2, bad=(1,), num_steps=3,
            snr=dict(draws=4),
        )
    )
  return config
