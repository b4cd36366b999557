"""Quests over several turns: PPO paid at the end, or by what turns gain.

Run: python -m experiments.rlvr --config=configs/rlvr/quests.py

A turn is one token of the policy, to which the world answers with two: the
room, and the room of the next object. They are read and carry no loss. The
policy starts from a short warm-up on an expert's episodes.
"""

import ml_collections as mlc

from configs.rlvr import base

TURNS = 8  # two more than an expert needs at most


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Quests over several turns"
  config.path = "configs/rlvr/quests.py"
  config.slug = "multiturn_guide_quests"
  config.baseline = "sparse"
  config.criterion.update(
      dict(
          text="dense rewards end above sparse ones: paired gain above 0",
          arm="dense",
          low=0.0,
      )
  )
  config.task.update(
      dict(
          name="quests",
          kinds=("quest",),
          quests=dict(width=2, objects=3, length=2),
          turns=TURNS,
          tokenizer="byte",
          prompt_length=4,
          answer_length=3 * TURNS,
      )
  )
  config.evaluation.num_samples = 1
  config.num_steps = 60
  config.log_every = 5
  config.checkpoint_every = 30
  config.warm_up.num_steps = 15
  config.recipe.name = "ppo"
  config.arms = dict(
      sparse=dict(), dense=dict(shaping=dict(turns="dense"))
  )
  if size == "tiny":
    config.num_steps = config.warm_up.num_steps = 4
    config.log_every = config.checkpoint_every = 2
  return config
