"""The flags of `experiments.audit_verifier`, in one place."""

import dataclasses

from absl import flags

from rewardjax.core import checks

_UNPARSABLE = ("unknown", "wrong")


def _option(default, text: str):
  return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Options:
  """What to audit, against what, and how sure to be; each field is a flag."""

  answers: str = _option("", "JSON lines: prompt, completion, reference, ...")
  verifier: str = _option(
      "verdict",
      "What is audited: a verifier's name, package.module:function, or a "
      "column of verdicts (true, false, 1, 0; null: unknown).",
  )
  trusted: str = _option(
      "label",
      "What is believed: a column of labels (null: not checked), or a second "
      "verifier.",
  )
  group_by: str = _option("", "Column of the groups: a kind, a data set.")
  cluster_by: str = _option(
      "prompt",
      "Column whose equal values make rows dependent; empty: none are.",
  )
  drift_by: str = _option("", "Column of numbers, such as the training step.")
  prompt_field: str = _option("prompt", "Column of prompts.")
  completion_field: str = _option("completion", "Column of completions.")
  reference_field: str = _option("reference", "Column of right answers.")
  trusted_reference_field: str = _option(
      "", "What the trusted verifier reads in its place, if it is another."
  )
  probability_field: str = _option(
      "", "Column of the chance with which a row was checked, in (0, 1]."
  )
  weight_field: str = _option("", "Column of 1 / that chance, in its place.")
  trusted_false_positive: float = _option(
      0.0, "How often the trusted side accepts wrong answers, if known."
  )
  trusted_false_negative: float = _option(
      0.0, "How often the trusted side rejects right answers, if known."
  )
  unparsable: str = _option(
      "unknown", "What an answer is that the verifier cannot read: or wrong."
  )
  trusted_unparsable: str = _option("unknown", "The same, trusted side.")
  correct_above: float = _option(0.0, "A higher score of a verifier is right.")
  drop_duplicates: bool = _option(
      False, "Whether to read only the first of rows that are equal throughout."
  )
  level: float = _option(0.95, "Of intervals; 1 - level is that of tests.")
  half_width: float = _option(
      0.1, "How wide, to each side, the interval of a rate may be."
  )
  min_youden: float = _option(
      0.2,
      "The least J = 1 - both rates of a verifier to train on; at 0.2, noise "
      "multiplies the samples needed by some 25.",
  )
  timeout_s: float = _option(10.0, "Seconds for a chunk of completions.")
  num_workers: int = _option(1, "Processes that run a verifier.")
  chunk_size: int = _option(16, "Completions that share a time-out.")
  jailed: bool = _option(
      False,
      "Whether verifiers lose network, processes and files (Linux): for those "
      "that evaluate what a model wrote.",
  )
  memory_mb: int = _option(0, "MiB that a verifier may take; 0: no bound.")
  title: str = _option("An audit of a verifier", "Of the report.")
  slug: str = _option("verifier_audit", "Of the file that is kept.")
  workdir: str = _option("", "For the report; default runs/<slug>.")
  write_results: bool = _option(False, "Keep the rates in docs/results.")

  def check(self) -> None:
    """Raises ValueError, naming the flag, unless every value makes sense."""
    if not self.answers:
      raise ValueError("--answers must name a file of JSON lines.")
    for name in ("unparsable", "trusted_unparsable"):
      checks.one_of("audit_verifier", _UNPARSABLE, **{name: self[name]})
    if self.probability_field and self.weight_field:
      raise ValueError("give --probability_field or --weight_field, not both.")
    unit = dict(low_open=True, high_open=True)
    for name in ("level", "half_width"):
      checks.within("audit_verifier", 0.0, 1.0, **unit, **{name: self[name]})
    for name in ("trusted_false_positive", "trusted_false_negative"):
      checks.within(
          "audit_verifier", 0.0, 1.0, high_open=True, **{name: self[name]}
      )
    if self.trusted_false_positive + self.trusted_false_negative >= 1:
      raise ValueError(
          "trusted_false_positive + trusted_false_negative must be below 1: "
          "such a verifier is not to be trusted."
      )

  def __getitem__(self, name: str):
    return getattr(self, name)


_DEFINE = {
    str: flags.DEFINE_string,
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """One flag per field, with its default and help."""
  for field in dataclasses.fields(Options):
    define, text = _DEFINE[field.type], field.metadata["help"]
    define(field.name, field.default, text, flag_values=values)


def from_flags(values: flags.FlagValues = flags.FLAGS) -> Options:
  """What the command line said."""
  names = [field.name for field in dataclasses.fields(Options)]
  return Options(**{name: values[name].value for name in names})


def command(options: Options) -> str:
  """The shell command whose flags these are."""
  import shlex

  words = ["python -m experiments.audit_verifier"]
  for field in dataclasses.fields(Options):
    value = options[field.name]
    if value == field.default or field.name == "write_results":
      continue
    word = f"--{field.name}" if value is True else f"--{field.name}={value}"
    words.append(shlex.quote(word))
  return " ".join([*words, "--write_results"])
