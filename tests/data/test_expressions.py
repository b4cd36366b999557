import ast
import dataclasses
import operator
from fractions import Fraction

import pytest

from rewardjax.data import expressions
from rewardjax.data.expressions import RandomCalculation

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def evaluate(prompt):
  """Another road to the value: Python's grammar and exact fractions."""

  def walk(node):
    if isinstance(node, ast.Constant):
      return Fraction(node.value)
    function = _OPERATORS[type(node.op)]
    return function(walk(node.left), walk(node.right))

  text = prompt.removesuffix("=").replace("^", "**")
  return walk(ast.parse(text, mode="eval").body)


HARD = RandomCalculation(
    seed=3, n_ops=(1, 12), fractions=True, powers=(1, 2, 3)
)
SMALL = RandomCalculation(operands=(0, 9), operators=("+", "-", "*"))


@pytest.mark.parametrize("generator", [HARD, SMALL], ids=["hard", "small"])
def test_values_are_those_of_an_independent_evaluator(generator):
  for i in range(200):
    problem = generator[i]
    assert problem.value == evaluate(problem.prompt), problem.prompt
    assert Fraction(problem.answer) == problem.value


def test_kind_is_the_root_operator_and_n_ops_counts_operators():
  symbols = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
  generator = dataclasses.replace(HARD, fractions=False)
  for i in range(200):
    problem = generator[i]
    text = problem.prompt.removesuffix("=")
    assert sum(text.count(x) for x in "+-*/") == problem.n_ops
    root = ast.parse(text.replace("^", "**"), mode="eval").body
    symbol = symbols[type(root.op)]
    assert generator.operators[problem.kind] == symbol
    assert problem.kind_name == expressions.KIND_NAMES[symbol]


def test_item_depends_on_seed_split_and_index_alone():
  forward = [HARD[i] for i in range(20)]
  again = dataclasses.replace(HARD)
  assert [again[i] for i in reversed(range(20))] == forward[::-1]
  assert dataclasses.replace(HARD, seed=4)[0] != forward[0]
  assert dataclasses.replace(HARD, split="test")[0] != forward[0]


def test_limits_hold_for_answers_and_kinds_stay_equally_frequent():
  generator = RandomCalculation(
      operands=(0, 9), max_magnitude=20, max_denominator=1
  )
  problems = [generator[i] for i in range(800)]
  assert all(abs(x.value) <= 20 for x in problems)
  assert all(x.value.denominator == 1 for x in problems)
  # 200 +- 5 standard deviations each, though few divisions come out even.
  for kind in range(4):
    assert 139 < sum(x.kind == kind for x in problems) < 261


def test_held_out_prompts_are_never_trained_on():
  """Regression for leaked test items: the splits are disjoint by hash."""
  train = dataclasses.replace(SMALL, held_out=0.2)
  test = dataclasses.replace(train, split="test")
  seen = {train[i].prompt for i in range(1500)}
  unseen = {test[i].prompt for i in range(500)}
  assert seen.isdisjoint(unseen)
  # Together nearly all 300 prompts, a fifth of them held out.
  assert len(seen | unseen) > 285
  assert 30 < len(unseen) < 90


def test_collision_rate_by_hand():
  assert expressions.collision_rate(["a", "b", "a", "a"]) == 0.5
  assert expressions.collision_rate([]) == 0.0


@pytest.mark.slow
def test_no_collisions_among_thirty_thousand_items(no_jaxtyping):
  # 101^6 operands and 4^5 operators: a repeat has probability below 1e-6.
  generator = RandomCalculation(n_ops=5)
  prompts = (generator[i].prompt for i in range(30_000))
  assert expressions.collision_rate(prompts) == 0.0


def test_row_holds_what_a_data_set_can():
  row = expressions.row(SMALL[0])
  columns = {"prompt", "answer", "truth", "kind", "kind_name", "n_ops"}
  assert row.keys() == columns
  assert row["truth"] == row["answer"] == SMALL[0].answer
  wrong = expressions.row(SMALL[0], "7")
  assert (wrong["answer"], wrong["truth"]) == ("7", SMALL[0].answer)


def test_noisy_rows_are_wrong_at_the_rate_and_right_otherwise():
  rows = [expressions.noisy_row(SMALL, i, noise=0.3) for i in range(400)]
  hit = [x["answer"] != x["truth"] for x in rows]
  assert 83 < sum(hit) < 157  # 400 * .3, four sigma
  clean = [expressions.row(SMALL[i]) for i in range(400)]
  same = lambda x: {k: v for k, v in x.items() if k != "answer"}
  assert [same(x) for x in rows] == [same(x) for x in clean]
  # Those hit at .3 are among those hit at .6, with the same wrong answer.
  more = [expressions.noisy_row(SMALL, i, noise=0.6) for i in range(400)]
  assert all(x == y for x, y, wrong in zip(rows, more, hit) if wrong)
  every = [expressions.noisy_row(SMALL, i, noise=1.0) for i in range(50)]
  assert all(x["answer"] != x["truth"] for x in every)
  none = [expressions.noisy_row(SMALL, i, noise=0.0) for i in range(50)]
  assert none == clean[:50]


def test_wrong_answers_are_answers_of_the_same_kind(monkeypatch):
  for i in range(60):
    row = expressions.noisy_row(SMALL, i, noise=1.0)
    if row["kind_name"] == "addition":
      assert 0 <= int(row["answer"]) <= 18
    if row["kind_name"] == "subtraction":
      assert -9 <= int(row["answer"]) <= 9
  monkeypatch.setattr(expressions, "_MAX_ATTEMPTS", 100)
  alone = RandomCalculation(operands=(1, 1), operators=("*",))
  with pytest.raises(ValueError, match="'multiplication' has the answer 1"):
    expressions.noisy_row(alone, 0, noise=1.0)
  with pytest.raises(ValueError, match="noise must be in"):
    expressions.noisy_row(SMALL, 0, noise=1.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(operators=("%",)), "operators must be one of"),
        (dict(operators=()), "must not be empty"),
        (dict(n_ops=0), "n_ops must be in"),
        (dict(n_ops=(3, 2)), "must not be empty"),
        (dict(operands=(-1, 2)), "operands must be in"),
        (dict(seed=-1), "seed must be in"),
        (dict(template="x"), "template must hold one"),
        (dict(split="valid"), "split must be one of train, test"),
        (dict(held_out=1.0), "held_out must be in"),
    ],
)
def test_errors_name_the_field(change, message):
  with pytest.raises(ValueError, match=message):
    RandomCalculation(**change)


def test_impossible_limits_fail_and_do_not_spin():
  generator = RandomCalculation(operands=(50, 60), max_magnitude=10)
  with pytest.raises(ValueError, match="max_magnitude"):
    generator[0]
  with pytest.raises(ValueError, match="index"):
    SMALL[-1]


@pytest.mark.parametrize(
    "expression, twin",
    [
        ("3+14=", "14+3="),
        ("(1-2)*7=", "7*(1-2)="),
        ("(2/3)+(4*(5+6))", "(4*(5+6))+(2/3)"),
        ("3-4=", "3-4="),
        ("(1+2)/3 = ?", "(1+2)/3 = ?"),
        ("42", "42"),
    ],
)
def test_operands_change_places_where_that_changes_nothing(expression, twin):
  assert expressions.swap_operands(expression) == twin
