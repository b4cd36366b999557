import itertools
import json

import pytest

from rewardjax.outcomes import Status
from rewardjax.rewards.verifiers import tool_calls as tools

Call = tools.Call
PARIS = Call("w", {"city": "Paris", "unit": "C"})


def _text(*calls, response=None):
  lines = [json.dumps(call._asdict()) for call in calls]
  parts = ["<think>So.</think>"]
  if calls:
    parts.append("\n".join(["<tool_call>", *lines, "</tool_call>"]))
  if response is not None:
    parts.append(f"<response>{response}</response>")
  return "\n".join(parts)


@pytest.mark.parametrize(
    "called,score",
    [
        ([PARIS], 3.0),
        ([Call("w", {"city": "Paris", "unit": "F"})], 1.5),
        ([Call("w", {"city": "Rome"})], -0.75),
        ([Call("x", PARIS.parameters)], -3.0),
        ([PARIS, PARIS], 2.25),
        ([], -3.0),
    ],
)
def test_scores_of_the_table(called, score):
  assert tools.call_score([PARIS], called) == pytest.approx(score)


def test_the_order_of_calls_does_not_matter():
  """A greedy match in order would give the first call the better partner."""
  expected = [Call("w", {"a": 1}), Call("w", {"a": 1, "b": 2})]
  called = [Call("w", {"a": 1, "b": 2}), Call("w", {"a": 1, "b": 3})]
  scores = {
      tools.call_score(e, c)
      for e in itertools.permutations(expected)
      for c in itertools.permutations(called)
  }
  assert len(scores) == 1
  # Names 1; (a,b) with (a,b): 1 + 2; (a) with (a,b): 1/2 + 1; of 1 + 2 + 3.
  assert scores.pop() == pytest.approx(-3 + 6 * 5.5 / 6)


def test_each_call_is_used_once():
  """Saying one right call twice does not fill two places."""
  both = [PARIS, Call("w", {"city": "Rome", "unit": "C"})]
  twice = tools.call_score(both, [PARIS, PARIS])
  # Names 1, first 1 + 2, second 1 + 1; of 1 + 3 + 3.
  assert twice == pytest.approx(-3 + 6 * 6 / 7)
  assert twice < tools.call_score(both, both) == 3.0


@pytest.mark.parametrize(
    "grain,called,score",
    [
        ("exact", [PARIS], 3.0),
        ("exact", [PARIS, PARIS], -3.0),
        ("exact", [Call("w", {"city": "Paris", "unit": "F"})], -3.0),
        ("calls", [PARIS], 3.0),
        ("calls", [Call("w", {"city": "Paris", "unit": "F"})], 0.0),
    ],
)
def test_coarser_grains(grain, called, score):
  actual = tools.call_score([PARIS], called, grain=grain)
  assert actual == pytest.approx(score)


def test_other_bounds():
  half = [Call("w", {"city": "Paris", "unit": "F"})]
  score = tools.call_score([PARIS], half, low=0.0, high=1.0)
  assert score == pytest.approx(0.75)


@pytest.mark.parametrize(
    "first,second,expected",
    [
        ("", "", 1.0),
        ("a", "", 0.0),
        ("aab", "ab", 2 / 3),
        ("ab", "ba", 1.0),
        ("aa", "a", 0.5),
    ],
)
def test_jaccard_of_multisets(first, second, expected):
  assert tools.multiset_jaccard(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    "a,b,equal",
    [
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ([1, {"a": 2}], [1.0, {"a": 2}], True),
        ([1, {"a": 2}], [1, {"a": True}], False),
        ([1], [1, 2], False),
    ],
)
def test_values_are_compared_with_their_types(a, b, equal):
  assert tools.same_value(a, b) is equal


@pytest.mark.parametrize(
    "said,calls",
    [
        ("no call", []),
        (_text(PARIS), [PARIS]),
        ('<tool_call>\n{"name": "t"}\n\n</tool_call>', [Call("t", {})]),
        ("<tool_call>\nw(Paris)\n</tool_call>", None),
        ("<tool_call>\n[1]\n</tool_call>", None),
        ('<tool_call>\n{"name": 3}\n</tool_call>', None),
        ('<tool_call>\n{"name": "t", "parameters": 3}\n</tool_call>', None),
        ("<tool_call>\n" + "[" * 10**5 + "\n</tool_call>", None),
        (_text(PARIS) + _text(PARIS), None),
        ('<tool_call>{"name": "t"}', None),
    ],
)
def test_reading_calls(said, calls):
  assert tools.parse_calls(said) == calls


@pytest.mark.parametrize(
    "said,calls,response,score",
    [
        (_text(PARIS), True, False, 1.0),
        (_text(PARIS, response="ok"), True, True, 1.0),
        (_text(response="ok"), False, True, 1.0),
        (_text(PARIS, response="ok"), True, False, 0.0),
        (_text(PARIS), True, True, 0.0),
        ("<think>So.</think>", False, False, 1.0),
        (_text(PARIS)[5:], True, False, 0.0),
        ("<think>a</think>\n<think>b</think>", False, False, 0.0),
        (_text(response="a</response>\n<response>b"), False, True, 0.0),
    ],
)
def test_form_by_hand(said, calls, response, score):
  assert tools.format_score(said, calls=calls, response=response) == score


def test_longer_thinking_up_to_its_full_length():
  said = f"<think>{'word ' * 256}</think> and more words"
  assert tools.thinking_length_score(said) == 0.5
  assert tools.thinking_length_score(said, full=100) == 1.0
  assert tools.thinking_length_score("no block") == 0.0


@pytest.mark.parametrize(
    "step,form,calls", [(0, 2, 2), (75, 1.5, 2.5), (150, 1, 3), (999, 1, 3)]
)
def test_scales_over_steps(step, form, calls):
  assert tools.gradual_scales(step) == (form, calls)


def test_scales_in_two_stages():
  assert tools.two_stage_scales(29) == (1.0, 1.0)
  assert tools.two_stage_scales(30) == (1.0, 3.0)


def test_verdicts_by_hand():
  wrong = Call("w", {"city": "Paris", "unit": "F"})
  said = [
      _text(PARIS),
      _text(wrong),
      "I do not know",
      "<tool_call>?</tool_call>",
      _text(response="Hello."),
      _text(PARIS),
  ]
  right = [_text(PARIS)] * 4 + [_text(response="Hi!"), "<tool_call>?"]
  verdicts = tools.tool_calls([""] * 6, said, right)
  assert [v.score for v in verdicts] == [4, 2.5, -3, -3, 1, None]
  assert [v.status for v in verdicts] == [
      Status.CORRECT,
      *[Status.WRONG] * 3,
      Status.CORRECT,
      Status.CRASHED,
  ]


def test_verdicts_scale_with_the_step():
  scales = tools.gradual_scales(0)
  right = _text(PARIS)
  (verdict,) = tools.tool_calls([""], [right], [right], scales=scales)
  assert verdict.score == 4.0
  (lowest,) = tools.tool_calls([""], ["?"], [right], scales=scales)
  assert lowest.score == -2.0


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="grain must be one of fine, calls, ex"):
    tools.tool_calls([], [], [], grain="coarse")
  with pytest.raises(ValueError, match="number_of_expected_calls"):
    tools.call_score([], [PARIS])
  with pytest.raises(ValueError, match="low must be below high, got 3.0"):
    tools.call_score([PARIS], [], low=3.0, high=3.0)
  with pytest.raises(ValueError, match="expected one common length"):
    tools.tool_calls([""], [], [])
