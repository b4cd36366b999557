"""Requests translated into tool calls; graded rewards against whole ones.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/tool_rl.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "tool_rl"
  config.slug = "tool_rl"
  config.options = dict(
      seed=0,
      num_seeds=5,
      tools=dict(tools=4, parameters=3, values=2),
      width=32,
      # Batches seen: almost nothing is then right, 7 %, two fifths (on other
      # seeds). About a tenth was to be judged, before any comparison.
      starts=(1, 20, 40),
      judged_at=20,
      imitation=dict(num_steps=40, learning_rate=0.02),
      learning=dict(
          num_steps=400,
          learning_rate=5e-3,
          batch_size=16,
          group_size=8,
      ),
      window=5,
      level=0.8,
      fewer=0.25,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2,
            tools=dict(tools=2, parameters=1, values=1),
            width=8,
            starts=(1, 2),
            judged_at=1,
            imitation=dict(num_steps=2, learning_rate=0.02),
            learning=dict(
                num_steps=2,
                learning_rate=5e-3,
                batch_size=2,
                group_size=2,
            ),
        )
    )
  return config
