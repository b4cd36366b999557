"""PPO, GRPO and RLOO on quests of about four commands in eight turns.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/multiturn_guide.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "multiturn_guide"
  config.slug = "multiturn_guide"
  config.options = dict(
      seed=0,
      num_seeds=5,
      # Two rooms on a side, three objects; two takes and, on average, two
      # walks: four commands.
      sizes=dict(width=2, objects=3, length=2),
      num_turns=8,
      larger=dict(width=2, objects=4, length=4),
      larger_turns=16,
      test_episodes=128,
      batch_size=8,
      group_size=8,
      num_steps=100,
      learning_rate=5e-3,
      width=32,
      window=5,
      level=0.5,
      budget=dict(
          shares=(0.0, 0.1, 0.3, 0.6, 0.9),
          price=10.0,
          imitation=dict(num_steps=50, learning_rate=5e-3),
      ),
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2,
            num_turns=2,
            larger_turns=2,
            test_episodes=2,
            batch_size=2,
            group_size=2,
            num_steps=2,
            width=4,
            budget=dict(
                shares=(0.0, 0.5),
                price=1.0,
                imitation=dict(num_steps=1, learning_rate=5e-3),
            ),
        )
    )
  return config
