import time
from fractions import Fraction

import pytest

from rewardjax.rewards.verifiers import parsing
from rewardjax.rewards.verifiers.parsing import read_answer, read_single

READ = {
    "12": 12,
    "the answer is 12.": 12,
    "First 3, then 112": 112,
    "x = 5\nso 7+5=12": 12,
    "Answer:12": 12,
    "**12**": 12,
    "It is `12`, *12*, or **12**.": 12,
    '{"answer": 12}': 12,
    "<answer>12</answer>": 12,
    "答案是12。": 12,
    "1,000": 1000,
    "1,000,000.": 10**6,
    "1\u202f000": 1000,
    r"12{,}000": 12000,
    r"12\,000": 12000,
    "0.5": Fraction(1, 2),
    ".5": Fraction(1, 2),
    "12.50.": Fraction(25, 2),
    "1/2": Fraction(1, 2),
    "so -1 / 2": Fraction(-1, 2),
    "1 1/2": Fraction(3, 2),
    "1½": Fraction(3, 2),
    "⅔": Fraction(2, 3),
    r"\frac{1}{2}": Fraction(1, 2),
    r"-\dfrac12": Fraction(-1, 2),
    r"2\tfrac{1}{4}": Fraction(9, 4),
    "50%": Fraction(1, 2),
    r"50\%": Fraction(1, 2),
    "-12 %": Fraction(-3, 25),
    "-12": -12,
    "\u221212": -12,
    "\uff0d\uff11\uff12": -12,
    "x=-12": -12,
    "x = - 12": -12,
    "It is done. -12": -12,
    "-0": 0,
    "007": 7,
    "+3": 3,
    "1e3": 1000,
    "-1.5E-3": Fraction(-3, 2000),
    "$12": 12,
    "$-12$": -12,
    r"\(12\)": 12,
    r"\boxed{12} of 13": 12,
    r"\boxed{1} no, \boxed{\frac{1}{2}}": Fraction(1, 2),
    r"\boxed{x = 12\text{ cm}}": 12,
    "3 + 4 = 7\n#### 1,234": 1234,
    r"30^\circ": 30,
    "9" * 400: 10**400 - 1,
}
REFUSED = [
    "",
    "twelve",
    "nan",
    "inf",
    "-infinity",
    "∞",
    "9**9**9",
    "9^9^9",
    "1e999999999",
    "1e-999999999",
    "1e401",
    "1e" + "9" * 5000,
    "9" * 401,
    "2+2",
    "2 + 2",
    "10-3",
    "2 - 5",
    "3 * 4 * 5",
    r"3 \times 4",
    "5!",
    "5²",
    "√2",
    r"\sqrt{2}",
    "sqrt(2)",
    "-(12)",
    "2(3)",
    "12x + 5x",
    "12 + x",
    r"12\pi",
    "3,5",
    "1,00",
    "1.2.3",
    "12:30",
    "(3,4)",
    "12/05/2024",
    "1/0",
    "1/-2",
    "1 000",
    "1_000",
    "x_2",
    "H2O",
    "COVID-19",
    "pages 3\u20135",
    "- 12",
    r"\boxed{12",
    r"\boxed{}12",
    r"\boxed{12 or 13}",
    r"\boxed{x = 5, x = 6}",
    "#### twelve of 12 or 13",
]


@pytest.mark.parametrize("text", READ, ids=lambda text: repr(text[:30]))
def test_read(text):
  assert read_answer(text).value == READ[text]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:30]))
def test_refused(text):
  with pytest.raises(parsing.Unreadable):
    read_answer(text)


@pytest.mark.parametrize("value", [0, 7, -3, 10**30, -(10**399)])
@pytest.mark.parametrize("denominator", [1, 3, 10**20])
def test_every_fraction_survives_its_own_text(value, denominator):
  fraction = Fraction(value, denominator)
  assert read_answer(f"I say {fraction}.").value == fraction
  assert read_single(f"\\boxed{{{fraction}}}"[7:-1]).value == fraction


def test_a_digit_more_on_either_side_is_another_number():
  for text in ("112", "12.1", "0.12", "12,000", "-12", "12/5", "12%", "120"):
    assert read_answer(text).value != 12


@pytest.mark.parametrize(
    "unit",
    [
        "1,", "\\boxed{", "*", "* a", "*a", "\\text{", "9 /", "9/", " ", "(",
        "1", "1 ", "1 1/", "\\frac{1}", "-", "1e", "½", "{", "{,}", "1{,}",
        "=", "= ", "####", ".", ":1", "\\,", "1\\,", "^", "1^",
    ],
)  # fmt: skip
def test_time_is_linear_in_the_text(unit):
  """Pain 22 (maxtext #3629): a verifier must not hang the trainer."""
  text = unit * (100_000 // len(unit)) + "1"
  start = time.perf_counter()
  try:
    read_answer(text)
  except parsing.Unreadable:
    pass
  # A quadratic scan of this text takes minutes.
  assert time.perf_counter() - start < 5.0
