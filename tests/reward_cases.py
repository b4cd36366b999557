"""Cases of corrections and advantages: what happens to the reward."""

import numpy as np

from tests import estimators as e
from tests import exact_gradients
from tests import worlds as w
from tests.worlds import BIASED, SCALED, Case

FP, FN, J = w.FALSE_POSITIVE, w.FALSE_NEGATIVE, w.YOUDEN


def _fine(n: int) -> dict[str, float]:
  """Advantages that are linear in the rewards, and what they scale by."""
  return {
      "no baseline": 1.0,
      "constant baseline": 1.0,
      "leave-one-out": 1.0,
      "centered": (n - 1) / n,
  }


def _baseline_scale(advantage, world, space, n):
  """What group statistics make of a perfect verifier's gradient."""
  if n == 1 and "baseline" not in advantage:
    return 0.0
  if advantage in _fine(n):
    return _fine(n)[advantage]
  return e.gain(advantage, world, space, n)


def baselines():
  """One prompt, a perfect verifier, groups of 1 to 4."""
  world = w.one_prompt()
  for advantage in e.ADVANTAGES:
    for n in (1, 2, 3, 4):
      expected = w.scaled(_baseline_scale(advantage, world, w.ONE, n))
      yield Case(
          "Baselines and group statistics",
          advantage,
          n,
          w.ONE,
          world,
          e.compose(advantage),
          *expected,
      )


# What a correction makes of the slope and, for `gain`, of the two values.
_SLOPES = {
    "raw": J,
    "backward": 1.0,
    "forward": J,
    "mirrored forward": J,
}
_VALUES = {
    "raw": (0.0, 1.0),
    "backward": (-FP / J, (1 - FP) / J),
    "forward": (FN - 1, FN),
    "mirrored forward": (-FP, 1 - FP),
}


def _noisy_scale(advantage, correction, world, space, n):
  if advantage in _fine(n):
    return _SLOPES[correction] * _fine(n)[advantage]
  return J * exact_gradients.binomial_gain(
      e.ADVANTAGES[advantage],
      w.success_rate(world, space),
      n,
      _VALUES[correction],
  )


def constant_noise():
  """Rates equal everywhere: no correction changes the direction."""
  world, n = w.noisy(w.one_prompt, FP, FN), 3
  for correction in e.CORRECTIONS:
    for advantage in e.ADVANTAGES:
      scale = _noisy_scale(advantage, correction, world, w.ONE, n)
      yield Case(
          "Constant noise rates",
          f"{correction}, {advantage}",
          n,
          w.ONE,
          world,
          e.compose(advantage, correction),
          *w.scaled(scale),
      )


def wrong_rates():
  """What the correction believes is not what the verifier does."""
  section = "Wrong, useless and adversarial rates"
  shape = (1, len(w.ONE.tokens))
  believe = lambda world, *rates: world._replace(
      believed=w.constant_rates(shape, *rates)
  )
  base = w.noisy(w.one_prompt, FP, FN)
  for rates in ((0.0, 0.2), (0.3, 0.1), (0.05, 0.4)):
    scales = {"backward": J / (1 - sum(rates)), "forward": J}
    for correction, scale in scales.items():
      yield Case(
          section,
          f"{correction}, told {rates}, is {(FP, FN)}",
          2,
          w.ONE,
          believe(base, *rates),
          e.compose("leave-one-out", correction),
          *w.scaled(scale),
      )
  worse = w.noisy(w.one_prompt, 0.7, 0.6)
  scales = {"raw": -0.3, "forward": -0.3, "backward": 1.0}
  for correction, scale in scales.items():
    yield Case(
        section,
        f"{correction}, worse than chance (0.7, 0.6)",
        2,
        w.ONE,
        worse,
        e.compose("leave-one-out", correction),
        *w.scaled(scale),
    )
  useless = w.noisy(w.one_prompt, 0.4, 0.6)
  for correction in ("raw", "forward", "backward"):
    yield Case(
        section,
        f"{correction}, no better than chance (0.4, 0.6)",
        2,
        w.ONE,
        useless,
        e.compose("leave-one-out", correction),
        *w.scaled(0.0),
    )
  yield Case(
      section,
      "forward weight x standardized advantage",
      2,
      w.ONE,
      base,
      e.weight_times_advantage(),
      *w.scaled(
          J
          * exact_gradients.binomial_gain(
              lambda o: (o - (1 - FN)) * e.ADVANTAGES["standardized"](o),
              w.success_rate(base, w.ONE),
              2,
          )
      ),
  )


def rates_by_prompt():
  """One prompt judged well, one badly; they share parameters."""
  false_positive = np.array([[0.0], [0.4]])
  false_negative = np.array([[0.05], [0.3]])
  world = w.noisy(w.two_prompts, false_positive, false_negative)
  fine = _fine(2)
  for correction in e.CORRECTIONS:
    for advantage in e.ADVANTAGES:
      expected = BIASED, None
      if correction == "backward" and advantage in fine:
        expected = w.scaled(fine[advantage])
      yield Case(
          "Noise rates by prompt",
          f"{correction}, {advantage}",
          2,
          w.TWO,
          world,
          e.compose(advantage, correction),
          *expected,
      )


def rates_by_answer():
  """A wrong answer the verifier loves: rates depend on the sequence."""
  loved = np.full((1, len(w.ONE.tokens)), FP)
  loved[0, 3] = 0.9
  world, n = w.noisy(w.one_prompt, loved, FN), 3
  fine = _fine(n)
  # Right answers share one Youden index here, and r - rho0 is 0 on average
  # for wrong ones, whatever their rho0: known false positives are enough.
  slopes = {"backward": 1.0, "mirrored forward": J}
  for correction in e.CORRECTIONS:
    for advantage in e.ADVANTAGES:
      expected = BIASED, None
      if correction in slopes and advantage in fine:
        expected = w.scaled(slopes[correction] * fine[advantage])
      yield Case(
          "Noise rates by answer",
          f"{correction}, {advantage}",
          n,
          w.ONE,
          world,
          e.compose(advantage, correction),
          *expected,
      )


def difficulty():
  """Two prompts of unlike difficulty, a perfect verifier."""
  world = w.two_short_prompts()
  make = lambda name, estimator, verdict, n=4: Case(
      "Prompts of unlike difficulty",
      name,
      n,
      w.SHORT,
      world,
      estimator,
      *verdict,
  )
  fine = _fine(4)
  for advantage in e.ADVANTAGES:
    expected = BIASED, None
    if advantage in fine:
      expected = w.scaled(fine[advantage])
    yield make(advantage, e.compose(advantage), expected)
  yield make(
      "leave-one-out, dead groups dropped",
      e.compose(filtered=True),
      (BIASED, None),
  )
  # f_2 = 1 / sqrt(2) and f_3 = 2 / sqrt(3), whatever the success rate: with
  # two or three samples a std cannot tell an easy prompt from a hard one.
  for n, gain in ((2, np.sqrt(0.5)), (3, 2 / np.sqrt(3))):
    yield make("standardized", e.compose("standardized"), (SCALED, gain), n)


def unknown_verdicts():
  """Some verdicts never come; groups shrink at random."""
  section = "Unknown verdicts"
  world = w.one_prompt()
  answered = np.full(world.rewards.shape, w.ANSWERED)
  world = world._replace(answered=answered)
  n = 3
  rate = w.success_rate(world, w.ONE)
  alone = {"no baseline": 1, "constant baseline": 1}

  def scale(advantage):
    if advantage in alone:
      return w.at_least(n, 1)
    if advantage == "leave-one-out":
      return w.at_least(n, 2)
    if advantage == "centered":
      return sum(w.known(n, k) * (k - 1) / k for k in range(2, n + 1))
    function = e.ADVANTAGES[advantage]
    return sum(
        w.known(n, k) * exact_gradients.binomial_gain(function, rate, k)
        for k in range(2, n + 1)
    )

  for advantage in e.ADVANTAGES:
    yield Case(
        section,
        advantage,
        n,
        w.ONE,
        world,
        e.compose(advantage),
        *w.scaled(scale(advantage)),
    )
  yield Case(
      section,
      "no baseline, fixed_length_mean",
      n,
      w.ONE,
      world,
      e.compose("no baseline", reducer="fixed_length_mean"),
      *w.scaled(w.ANSWERED / 2),
  )
  noisy = w.noisy(w.one_prompt, FP, FN)._replace(answered=answered)
  yield Case(
      section,
      "backward, leave-one-out, noisy",
      n,
      w.ONE,
      noisy,
      e.compose("leave-one-out", "backward"),
      *w.scaled(w.at_least(n, 2)),
  )
  slow = world._replace(answered=np.where(w.ONE.mask[:, -1], 0.5, 1.0)[None])
  yield Case(
      section,
      "leave-one-out, long answers time out",
      n,
      w.ONE,
      slow,
      e.compose(),
      BIASED,
  )
