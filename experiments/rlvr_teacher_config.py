"""Whether a teacher writes the problems of `experiments.rlvr`, and may."""

from experiments import rlvr_measures
from experiments.choices import choose
from rewardjax.core import checks

TEACHERS = ("none", "soar")
ESTIMATORS = ("leave_one_out", "centered", "standardized")


def is_on(config) -> bool:
  """Whether a teacher writes the problems."""
  return config.teacher.name != "none"


def check(config) -> None:
  """Raises ValueError, naming the field, unless a teacher can work so."""
  o = config.teacher
  choose("teacher.name", dict.fromkeys(TEACHERS), o.name)
  choose("teacher.estimator", dict.fromkeys(ESTIMATORS), o.estimator)
  for field in ("length", "repeats", "set_size", "inner_steps", "hard_size"):
    checks.at_least("config", 1, **{f"teacher.{field}": o[field]})
  # A lone set has nothing to be compared with.
  checks.at_least("config", 2, **{"teacher.students": o.students})
  steps = {"teacher.warm_up.num_steps": o.warm_up.num_steps}
  checks.at_least("config", 0, **steps)
  checks.at_least("config", 0.0, **{"teacher.threshold": o.threshold})
  checks.probability("config", **{"teacher.decay": o.decay})
  checks.within(
      "config", 0.0, low_open=True, **{"teacher.temperature": o.temperature}
  )
  if not is_on(config):
    return
  if not o.separator:
    raise ValueError("config.teacher.separator must not be empty.")
  for kind in o.hard_kinds:
    choose("teacher.hard_kinds", dict.fromkeys(config.task.kinds), kind)
  if o.set_size % config.num_microbatches:
    raise ValueError(
        "config.num_microbatches must divide config.teacher.set_size "
        f"{o.set_size}, got {config.num_microbatches}."
    )
  if o.warm_up.num_steps % config.log_every:
    raise ValueError(
        "config.log_every must divide config.teacher.warm_up.num_steps "
        f"{o.warm_up.num_steps}, got {config.log_every}."
    )
  _check_alone(config)


def _check_alone(config) -> None:
  """What must be off: a step is one program, on problems of no kind."""
  for field, value, wanted in (
      ("curriculum.name", config.curriculum.name, "none"),
      ("sampling.search", config.sampling.search, "none"),
      ("sampling.max_refills", config.sampling.max_refills, 0),
      ("asynchronous.lag", config.asynchronous.lag, 0),
      (
          "asynchronous.sampler_devices",
          config.asynchronous.sampler_devices,
          0,
      ),
      ("task.rewording", config.task.rewording, ""),
      ("task.turns", config.task.turns, 0),
      ("verifier.name", config.verifier.name, "tokens"),
      ("verifier.trusted", config.verifier.trusted, "tokens"),
  ):
    if value != wanted:
      raise ValueError(
          f"config.{field} must be {wanted!r} with config.teacher.name "
          f"{config.teacher.name!r}, got {value!r}."
      )
  for field in rlvr_measures.reads_text(config):
    raise ValueError(
        f"config.{field} has text read on the host, which a step with "
        f"config.teacher.name {config.teacher.name!r} cannot."
    )
  for field in ("noise", "correction"):
    for name in ("false_positive", "false_negative"):
      if len(config[field][name]) > 1:
        raise ValueError(
            f"config.{field}.{name} must hold one rate with "
            f"config.teacher.name {config.teacher.name!r}: what a teacher "
            f"writes is of no kind; got {tuple(config[field][name])}."
        )
