"""A teacher paid by its students' progress (SOAR), and one that never learns.

Run: python -m experiments.rlvr --config=configs/rlvr/soar.py

The policy learns from nothing but problems that a teacher writes, of which
some have a wrong answer. The teacher is paid by what its students gain on
problems of the data. In the arm "still" it writes just as much and never
learns.
"""

import ml_collections as mlc

from configs.rlvr import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A teacher paid by its students' progress"
  config.path = "configs/rlvr/soar.py"
  config.slug = "soar_teacher"
  config.baseline = "still"
  config.criterion.update(
      dict(
          text="a paid teacher's students end higher: paired gain above 0",
          arm="paid",
          low=0.0,
      )
  )
  config.teacher.update(
      dict(
          name="soar",
          length=8,
          learning_rate=2e-3,
          warm_up=dict(num_steps=40, batch_size=64, learning_rate=3e-3),
      )
  )
  config.num_steps = 30
  config.log_every = 5
  config.checkpoint_every = 15
  config.sampling.batch_size = 16
  config.optimizer.learning_rate = 5e-4
  config.arms = dict(
      still=dict(teacher=dict(learning_rate=0.0)), paid=dict()
  )
  if size == "tiny":
    config.num_steps = config.log_every = config.checkpoint_every = 2
    config.teacher.update(dict(students=2, set_size=4, inner_steps=1))
    config.teacher.warm_up.num_steps = 2
  return config
