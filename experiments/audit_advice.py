"""What an audit recommends, and why: the tables of docs/noise.md as code."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from experiments.audit_options import Options
from experiments.audit_rates import RATES, Findings, Measured
from rewardjax.noise import corrections, precision
from rewardjax.noise.rates import RateEstimate
from rewardjax.training.report import Table

Decision = Literal[
    "more_samples", "not_this_verifier", "appeals", "per_group", "none"
]
FEW = 5  # samples below which a rate of a group says too little
_WORDS = {
    "false_positive": ("false positives", "wrong answers"),
    "false_negative": ("false negatives", "right answers"),
}
_HEADS = ["advantage of the training", "correction", "because"]


class Advice(NamedTuple):
  """A recommendation: why, for which advantage, and what to paste."""

  decision: Decision
  headline: str
  reasons: list[str]
  table: Table | None
  config: str  # lines of a config of experiments.rlvr


def advise(found: Findings, options: Options) -> Advice:
  """The first of these that holds.

  J surely below `min_youden`: not this verifier. A rate that is unknown or
  known less precisely than asked: more samples. J perhaps below `min_youden`:
  not this verifier. Rates that drift: appeals. Rates that differ between
  groups: backward, each group with its own. Else none: one pair of rates
  cannot turn the gradient.
  """
  index = found.overall.youden
  if index.high <= options.min_youden:
    return _not_this_verifier(found, options)
  if unclear := _unclear(found.overall, options):
    return _more_samples(found, options, unclear)
  if index.low <= options.min_youden:
    return _not_this_verifier(found, options)
  if _differ(found.drift, options):
    return _appeals(found, options)
  if _differ(found.equal, options):
    return _per_group(found, options)
  return _none(found, options)


def _differ(tests: dict, options: Options) -> list[str]:
  """Rates that are not constant; Bonferroni over the two tests."""
  alpha = (1 - options.level) / 2
  return [name for name, test in tests.items() if test.p_value < alpha]


def _unclear(one: Measured, options: Options) -> list[str]:
  """Rates that are unknown, or known less precisely than asked."""
  return [
      name
      for name in RATES
      if getattr(one, name).count == 0
      or _half(getattr(one, name)) > options.half_width
  ]


def _half(x: RateEstimate) -> float:
  return (x.high - x.low) / 2


def few_samples(one: Measured) -> list[str]:
  """Rates of a group that fewer than `FEW` samples speak of."""
  return [name for name in RATES if getattr(one, name).count < FEW]


def rows_needed(one: Measured, name: str, options: Options) -> str:
  """How many more samples of a class, and so rows, make a rate narrow."""
  estimate, class_name = getattr(one, name), _WORDS[name][1]
  rate = 0.5 if math.isnan(estimate.rate) else estimate.rate
  needed = precision.samples_needed(
      rate, half_width=options.half_width, level=options.level
  )
  more = max(math.ceil(needed - estimate.count), 0)
  goal = f"a half-width of {options.half_width:g}"
  text = (
      f"{_WORDS[name][0]} of {one.name}: {more} more independent {class_name} "
      f"for {goal} at a rate of {rate:.2f}"
  )
  if not estimate.count:
    return f"{text}; so far none was checked, and the rate is unknown."
  rows = math.ceil(more * one.cells.sum() / estimate.count)
  return f"{text}, some {rows} more rows like these."


def _more_samples(found, options, unclear: Sequence[str]) -> Advice:
  one = found.overall
  reasons = [rows_needed(one, name, options) for name in unclear]
  if one.youden.low <= options.min_youden < one.youden.high:
    reasons.append(
        f"J lies between {one.youden.low:.2f} and {one.youden.high:.2f}: that "
        f"does not settle whether it is above {options.min_youden:g}."
    )
  return Advice(
      "more_samples",
      "Too few samples to say: audit more before choosing a correction.",
      reasons,
      None,
      "",
  )


def _not_this_verifier(found, options) -> Advice:
  index = found.overall.youden
  reasons = [
      f"J = {index.rate:.2f} ({index.low:.2f} to {index.high:.2f}) may be as "
      f"low as {options.min_youden:g}: little of the signal is left, no "
      "correction brings it back, and backward would divide by it.",
      "Get another verifier, or ask a second one about what this one rejects "
      "or accepts (appeals with config.appeals.overrule = True), and audit "
      "the two together.",
  ]
  if index.high < 0:
    reasons.append(
        "J is below 0: verdicts say the opposite of the truth. Are the labels "
        "the right way round?"
    )
  better = [
      x.name for x in found.groups if x.youden.low > options.min_youden
  ]
  if better:
    reasons.append(
        f"It passes on {', '.join(better)}: to train on those only is a choice."
    )
  headline = "Do not train on this verifier."
  return Advice("not_this_verifier", headline, reasons, None, "")


def _appeals(found, options) -> Advice:
  names = " and ".join(_WORDS[x][0] for x in _differ(found.drift, options))
  reasons = [
      f"{names.capitalize()} change along {options.drift_by!r} (p-values "
      f"{_p_values(found.drift)}): rates of one audit are late as soon as "
      "they are known.",
      "Appeals recheck a random share of the verdicts while training and keep "
      "the rates up to date, per kind of problem; the trusted verifier is "
      "the judge.",
  ]
  lines = [
      'config.correction.name = "backward"',
      'config.correction.rates = "appeals"',
      "config.appeals.fraction = 0.25  # of rejected samples",
      "config.appeals.audit_fraction = 0.25  # of accepted samples",
      'config.credit.estimator = "leave_one_out"',
  ]
  headline = "Backward, with rates from appeals: they drift."
  return _with_table("appeals", headline, reasons, lines, _VARYING)


def _per_group(found, options) -> Advice:
  names = " and ".join(_WORDS[x][0] for x in _differ(found.equal, options))
  known = {x.name: x.youden.rate for x in found.groups if not few_samples(x)}
  reasons = [
      f"{names.capitalize()} differ between groups (p-values "
      f"{_p_values(found.equal)}).",
  ]
  if known:
    least, most = min(known, key=known.get), max(known, key=known.get)
    reasons.append(
        f"Raw verdicts weigh each group by its own J: {least} by "
        f"{known[least]:.2f}, {most} by {known[most]:.2f}. Backward with the "
        "rates of each group gives them equal weights again."
    )
  reasons += _doubtful(found, options)
  kinds = tuple(x.name for x in found.groups)
  lines = [
      f"# In this order: config.task.kinds = {kinds}",
      *_given([_filled(x, found.overall) for x in found.groups]),
      'config.credit.estimator = "leave_one_out"',
  ]
  headline = "Backward, with the rates of each group."
  return _with_table("per_group", headline, reasons, lines, _VARYING)


def _doubtful(found, options) -> list[str]:
  """What to know before pasting the rates of every group."""
  reasons = []
  few = [x.name for x in found.groups if few_samples(x)]
  if few:
    reasons.append(
        f"Fewer than {FEW} samples of a class speak of {', '.join(few)}: the "
        "overall rate stands in for such a rate. Audit more of them."
    )
  least = options.min_youden
  known = [x for x in found.groups if x.name not in few]
  low = [x.name for x in known if x.youden.rate <= least]
  if low:
    reasons.append(
        f"J is {least:g} or less on {', '.join(low)}: leave them out, or get "
        "a second opinion there."
    )
  unsure = [x.name for x in known if x.youden.low <= least < x.youden.rate]
  if unsure:
    reasons.append(
        f"That J is above {least:g} is not sure on {', '.join(unsure)}."
    )
  return reasons


def _filled(one: Measured, overall: Measured):
  """Rates of a group, with the overall one where too little is known."""
  few = few_samples(one)
  pick = lambda name: getattr(overall if name in few else one, name).rate
  return [pick(name) for name in RATES]


def _given(rates: Sequence[Sequence[float]]) -> list[str]:
  shown = [repr(tuple(round(x, 4) for x in row)) for row in zip(*rates)]
  return [
      'config.correction.name = "backward"',
      'config.correction.rates = "given"',
      f"config.correction.false_positive = {shown[0]}",
      f"config.correction.false_negative = {shown[1]}",
  ]


def _none(found, options) -> Advice:
  one = found.overall
  if found.equal:
    reasons = [
        "Nothing speaks against one pair of rates for all groups (p-values "
        f"{_p_values(found.equal)})."
    ]
  else:
    reasons = [
        "Whether rates differ between groups was not tested: --group_by names "
        "the column of a kind, a data set, a verifier. If they do, this "
        "advice does not hold."
    ]
  _, why = corrections.is_no_op(
      "backward", "mean", "group_std", constant_within_group=True
  )
  reasons.append(
      f"With one pair of rates a correction cannot turn the gradient. {why}"
  )
  factor = corrections.backward_variance(one.right.rate, one.rates)
  clean = one.right.rate * (1 - one.right.rate)
  if clean > 0:
    reasons.append(
        f"What noise costs all the same: {float(factor) / clean:.1f} times "
        "the samples for the same precision of the mean reward. Only a better "
        "verifier brings that back."
    )
  wide = [
      f"{group.name} (±{_half(group.youden):.2f})"
      for group in found.groups
      if _half(group.youden) > 2 * options.half_width
  ]
  if wide:
    reasons.append(
        "A test that finds nothing is no proof where groups are small: J is "
        f"hardly known on {', '.join(wide)}."
    )
  lines = [
      'config.correction.name = "none"',
      "# If other terms are added to the verdict (length, format, KL):",
      *(f"# {line}" for line in _given([one.rates])),
  ]
  headline = "No correction: it would change nothing."
  return _with_table("none", headline, reasons, lines, _CONSTANT)


_STD = "group mean and std"
_MEAN = "group mean or leave-one-out"
_PLAIN = "not centred"
_CONSTANT = (
    (_STD, "none", "centre and std remove any offset and scale"),
    (_MEAN, "none", "backward changes the step size only, by 1 / J"),
    (_PLAIN, "forward", "bounded weights; backward for the full scale"),
    ("other terms in the reward", "backward, before they are added",
     "noise shrinks the verdict by J and not the other terms"),
)
_VARYING = (
    (_STD, "backward, and another advantage",
     "the std would take it out: leave_one_out, bernoulli_standardized"),
    (_MEAN, "backward", "it weighs each prompt by 1 instead of its J"),
    (_PLAIN, "backward", "or forward divided by J"),
)


def _with_table(decision, headline, reasons, lines, rows) -> Advice:
  table = Table(_HEADS, rows)
  return Advice(decision, headline, reasons, table, "\n".join(lines) + "\n")


def _p_values(tests: dict) -> str:
  return ", ".join(
      f"{test.p_value:.2g} for {_WORDS[name][0]}"
      for name, test in tests.items()
  )
