"""Every estimator of the library as cases of `tests.enumeration`.

A case says what is drawn, what is minimised and what the result claims to
ascend, and what must come out: a verdict, and where there is one a scale,
found by another road than the estimator's code.
"""

from tests import (
    enumeration,
    exact_gradients,
    reward_cases,
    surrogate_cases,
    worlds,
)
from tests.exact_gradients import Comparison
from tests.worlds import Case

SECTIONS = (
    reward_cases.baselines,
    reward_cases.difficulty,
    reward_cases.constant_noise,
    reward_cases.wrong_rates,
    reward_cases.rates_by_prompt,
    reward_cases.rates_by_answer,
    reward_cases.unknown_verdicts,
    surrogate_cases.reducers,
    surrogate_cases.off_policy,
    surrogate_cases.sampling_laws,
    surrogate_cases.kl_losses,
    surrogate_cases.whole_recipes,
)


def all_cases() -> list[Case]:
  return [case for section in SECTIONS for case in section()]


def evaluate(cases: list[Case]) -> list[Comparison]:
  """Runs the cases; those of one world share a compiled program."""
  batches = {}
  for i, case in enumerate(cases):
    settings = (case.group_size, case.law, case.scoring_law)
    batches.setdefault((id(case.world), settings), []).append(i)
  found = {}
  for (_, (group_size, law, scoring_law)), indices in batches.items():
    first = cases[indices[0]]
    moments = enumeration.expected_gradients(
        first.space,
        first.world,
        tuple(cases[i].estimator for i in indices),
        group_size=group_size,
        law=law,
        scoring_law=scoring_law,
    )
    found.update(zip(indices, moments))
  return [_compare(case, found[i]) for i, case in enumerate(cases)]


def _compare(case, moments):
  target = worlds.exact_gradient(
      case.space, case.world, case.law, case.ascends
  )
  return exact_gradients.compare(moments, target)


def as_expected(case: Case, found: Comparison) -> bool:
  """Whether the verdict is the expected one, and the scale, if known."""
  fits = case.scale is None or abs(found.scale - case.scale) < 1e-5
  return found.verdict == case.verdict and fits
