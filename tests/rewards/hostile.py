"""Texts that broke verifiers, or should; and pairs on which they disagree."""

# Name -> completion.
TEXTS = {
    "empty": "",
    "blanks": " \n\t\u00a0",
    "nul": "the answer is \0 12\0",
    "surrogate": "\\boxed{\ud800} \udfff 12",
    "digits": "9" * 1_000_000,
    "braces": "\\boxed" + "{" * 10_000 + "1" + "}" * 10_000,
    "fractions": "$" + "\\frac{1}{" * 300 + "2" + "}" * 300 + "$",
    "open_braces": "\\boxed{" * 10_000,
    "tower": "$9^{9^{9^{9}}}$",
    "python_tower": "9**9**9**9",
    "brackets": "(" * 10_000 + "1" + ")" * 10_000,
    "factorial": "$99999999!$",
    "blanks_and_end": "1" + " " * 100_000 + "x",
    "backslashes": "\\" * 100_000,
    "fences": "```\n" * 9_999,
    "tags": "<answer>" * 10_000,
}

# (completion, reference, whether a person would accept it).
PAIRS = [
    ("\u22127", "-7", True),  # Unicode minus
    ("-7", "\u22127", True),
    ("x = \u22127", "-7", True),
    ("1/2", "\\frac{1}{2}", True),
    ("0.5", "\\frac{1}{2}", True),
    ("\\boxed{\\frac12}", "0.5", True),
    ("1,000", "1000", True),
    ("1 000", "1000", True),
    ("12.0", "12", True),
    ("2\\sqrt{2}", "\\sqrt{8}", True),
    ("(1, 2)", "(1,2)", True),
    ("x+1", "1+x", True),
    ("½", "1/2", True),
    ("50", "50%", False),
    ("50%", "50", False),
    ("5 m", "5 cm", False),
    ("5 m", "5 m", True),
    ("5", "5 cm", False),
    ("12", "112", False),
    ("7", "-7", False),
    ("0.33", "1/3", False),
    ("3 or 4", "4", False),
    ("x = 3", "3", True),
    ("(1, 2)", "[1, 2]", False),
    ("\\{1, 2\\}", "(1, 2)", False),
]
