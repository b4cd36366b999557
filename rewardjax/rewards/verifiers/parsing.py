"""Reads the number that a text gives as its answer, exactly and without eval.

A rule that reads too much pays for wrong answers, so what is ambiguous is
not read at all. In particular:

- numbers are taken whole: `112` holds no `12`, and `3,5`, `1.2.3`, `12:30`
  are no numbers;
- an operand is no answer: `2+2`, `9**9`, `x^2`, `5!`, `sqrt(2)`, `12/05/2024`;
- `50%` is 1/2;
- a letter right after the digits is part of the answer (`12k`, `12x`,
  `12cm`), a word after a blank is not.

Time is linear in the length of the text, and no number is built whose size
is not bounded by `MAX_DIGITS`.
"""

import collections
import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

# Of digits in a number, and of a decimal exponent: 1e999999999 would fill
# the memory, and quadratic conversions of long integers the time.
MAX_DIGITS = 400

_MINUS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2013\ufe63\uff0d"), "-")
_THIN = dict.fromkeys(map(ord, "\u00a0\u2009\u202f"), "\u2009")
_HIDDEN = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff`"), "")
# A fraction follows this mark until it is known whether it is a mixed number:
# 1½ is not 11/2.
_MARK = "\u2004"
_VULGAR = {
    char: _MARK
    + unicodedata.normalize("NFKC", chr(char)).replace("\u2044", "/")
    for char in (*range(0xBC, 0xBF), *range(0x2150, 0x215F))
}
_REPLACEMENTS = (
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"(?<=\d)(?:\{,\}|\\,|\\!|\\;|\u2009)+(?=\d)"), ","),
    (re.compile(r"\\(?:left|right|quad)(?![a-zA-Z])|\\[,!; ]|\u2009"), " "),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)"), r"\1{\2}{\3}"),
    (
        re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}"),
        _MARK + r"\1/\2",
    ),
    (re.compile(rf"(?<=\d){_MARK}"), " "),
    (re.compile(_MARK), ""),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)"), "°"),
    # Bold and italics of Markdown; 3 * 4 and 9**9 are not.
    (
        re.compile(r"(?<![\w*)])\*+(?=[^\s*])([^*\n]+)(?<=\S)\*+(?![\w*(])"),
        r"\1",
    ),
)
# Digits and all that may join them; `_exact` says whether they are a number.
_DIGITS = r"(?:(?<![\w.])\.)?\d(?:[\d.,:_]*\d)?(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(
    rf"(?P<sign>[-+] ?)?(?:(?P<whole>\d+) (?=\d+ ?/ ?\d))?"
    rf"(?P<top>{_DIGITS})(?: ?/ ?(?P<bottom>{_DIGITS}))?"
)
_PLAIN = re.compile(r"(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d+))?(?:[eE]([-+]?\d+))?")
_OPERATORS = "+-*/^×÷·⋅∗⁄±√"
_COMMANDS = r"\\(?:cdot|times|div|pm|mp|sqrt|pi|log|ln|exp)(?![a-zA-Z])"
# Digits after these are a part of something else: a name, an operand, an
# argument, a longer number.
_LEFT = re.compile(
    rf"[\\_]$|[{re.escape(_OPERATORS)}]$|[\w)%][{re.escape(_OPERATORS)}]+ *$"
    rf"|[\w)%] +[{re.escape(_OPERATORS)}]+ +$|\w\.$|[\w)]\($"
    rf"|[{re.escape(_OPERATORS)}] ?\($|\\[a-zA-Z]+\{{$|[\^_}}]\{{$"
    rf"|{_COMMANDS} *$"
)
_RIGHT = re.compile(
    r"\)*[*^!√π⁰¹²³⁴-⁹ⁿ]|\(| ?[+*/×÷·⋅∗^]+ ?[\w(\\]|-\w|/" rf"| ?{_COMMANDS}"
)
_CURRENCIES = "$€£¥"


class Number(NamedTuple):
  """A value and the text on both sides of it."""

  value: Fraction
  before: str
  after: str


class Unreadable(ValueError):
  """The text gives no number, or not clearly one; the message says why."""


def read_answer(text: str) -> Number:
  """The number in the last `\\boxed{...}`, after the last `####`, or the last.

  A box or mark must hold exactly one number; of free text the last counts.

  Raises:
    Unreadable: if there is none, or it is not clear which one it is.
  """
  start = text.rfind("\\boxed{")
  if start >= 0:
    return read_single(inside(text[start + len("\\boxed") :]))
  _, mark, after = text.rpartition("####")
  if mark:
    return read_single(after)
  return _last(_normalize(text))


def read_single(text: str) -> Number:
  """The only number of a text, or of the right side of its equation.

  Raises:
    Unreadable: if there is none or more than one.
  """
  left, _, right = _normalize(text).rpartition("=")
  if re.search(r"[=,;]|\b(?:or|and)\b", left):
    raise Unreadable(f"more than one statement in {text.strip()[:40]!r}")
  number = _last(right)
  if re.search(r"\d", number.before):
    raise Unreadable(f"more than one number in {text.strip()[:40]!r}")
  return number


def inside(text: str) -> str:
  """What stands between the first brace and the one that closes it.

  Raises:
    Unreadable: if none does.
  """
  depth = 0
  for match in re.finditer(r"[{}]", text):
    depth += 1 if match.group() == "{" else -1
    if depth == 0:
      return text[1 : match.start()]
  raise Unreadable("a box that is not closed")


def _normalize(text: str) -> str:
  """One spelling for minus signs, digits, fractions, and LaTeX blanks."""
  if not text.isascii():
    for table in (_MINUS, _HIDDEN, _THIN, _VULGAR):
      text = text.translate(table)
    text = "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text
    )
  text = text.replace("`", "")
  for pattern, replacement in _REPLACEMENTS:
    text = pattern.sub(replacement, text)
  return text


def _last(text: str) -> Number:
  matches = collections.deque(_NUMBER.finditer(text), maxlen=1)
  if not matches:
    raise Unreadable("no number")
  (match,) = matches
  before, after = text[: match.start()], text[match.end() :]
  negative = _is_negative(before, match["sign"])
  _check_surroundings(before, match["top"], after)
  value = _exact(match["top"])
  if match["bottom"]:
    bottom = _exact(match["bottom"])
    if not bottom:
      raise Unreadable("a division by zero")
    value /= bottom
  if match["whole"]:
    if value >= 1:
      raise Unreadable(f"{match.group()[:40]!r} is not one number")
    value += _exact(match["whole"])
  if re.match(" ?%", after):
    after, value = after.partition("%")[2], value / 100
  return Number(-value if negative else value, before, after)


def _is_negative(before: str, sign: str | None) -> bool:
  """Reads a sign; raises where it may be a hyphen, a dash or an operator."""
  if not sign:
    return False
  last = before.rstrip(" ")[-1:]
  attached = sign in "-+"  # nothing between sign and digits
  if last.isalnum() or (last and last in ")%]}."):
    word = last.isalpha() or last == "."
    clear = attached and word and before.endswith(" ")
  else:
    clear = attached or last == "="
  if not clear:
    raise Unreadable(f"it is not clear what {sign!r} means")
  return sign[0] == "-"


def _exact(token: str) -> Fraction:
  """The exact value of digits with optional groups, decimals, exponent."""
  match = _PLAIN.fullmatch(token)
  if match is None:
    raise Unreadable(f"{token[:40]!r} is not one number")
  whole, decimals, exponent = match[1], match[2] or "", match[3] or "0"
  digits = whole.replace(",", "") + decimals
  # The exponent's own length first: int() of a long text is quadratic.
  if len(digits) > MAX_DIGITS or len(exponent) > 5:
    raise Unreadable(f"{token[:20]!r}... has too many digits")
  if abs(int(exponent)) > MAX_DIGITS:
    raise Unreadable(f"the exponent {exponent} is too large")
  return Fraction(int(digits)) * Fraction(10) ** (int(exponent) - len(decimals))


def _check_surroundings(before: str, number: str, after: str) -> None:
  """Raises Unreadable where the digits are a part of something else."""
  left, right = before[-16:], after[:16]
  if _is_letter(left[-1:]) or _LEFT.search(left):
    raise Unreadable(f"{number[:20]} follows {left[-4:]!r}")
  if re.search(r"\d $", left) and re.fullmatch(r"\d{3}", number):
    raise Unreadable(f"{number} may end a longer number")
  if _RIGHT.match(right):
    raise Unreadable(f"{number[:20]} is followed by {right[:4]!r}")


def _is_letter(char: str) -> bool:
  # Scripts that write no blanks between words may touch a number.
  return bool(char) and char.isalpha() and ord(char) < 0x0590


def agrees_with_unit(answer: Number, reference: Number) -> bool:
  """Whether an answer carries the unit of its reference.

  The reference's unit is what follows its number (`cm`, `km/h`), or a sign
  of currency before it; the answer must show the same. Without a unit in
  the reference, a currency or a word after a blank is prose, and letters
  that touch the digits change the number.
  """
  unit = reference.after.strip(" .$\\)")
  currency = reference.before.rstrip(" ")[-1:]
  # A dollar on both sides is LaTeX.
  if currency and currency in _CURRENCIES and "$" not in reference.after:
    if answer.before.rstrip(" ")[-1:] != currency:
      return False
  if not unit:
    return not _is_letter(answer.after[:1])
  follows = answer.after.lstrip(" ")
  rest = follows[len(unit) :]
  return follows.startswith(unit) and not re.match(r"[\w/^²³]", rest)
