import json

import numpy as np
import pytest

from experiments import audit_reward_model, audit_reward_model_probes
from experiments.audit_reward_model import audit
from experiments.reward_model import from_rows

WORTH = {"good": 2.0, "fine": 1.0, "poor": -1.0, "bad": -2.0}


def rows(count=40, seed=0):
  """A completion names its prompt's topic, and how good it is."""
  rng = np.random.default_rng(seed)
  found = []
  for i in range(count):
    best, worst = rng.choice(["good", "fine"]), rng.choice(["poor", "bad"])
    filler = " so it is" * int(rng.integers(0, 3))
    found.append(dict(
        prompt=f"about t{i % 10}",
        chosen=f"t{i % 10} {best}{filler}",
        rejected=f"t{i % 10} {worst}",
    ))
  return found


def sound(prompts, completions, meta=None):
  """Reads the prompt and the words, and nothing else."""
  del meta
  scores = []
  for prompt, text in zip(prompts, completions):
    words = text.lower().replace("*", " ").replace("!", " ").split()
    worth = sum({w: WORTH.get(w, 0.0) for w in words}.values())
    scores.append(worth + 5.0 * (prompt.split()[-1] in words))
  return scores


def long(prompts, completions, meta=None):
  return [float(len(x)) for x in completions]


def shouting(prompts, completions, meta=None):
  bonus = [4.0 * x.count("!") for x in completions]
  return [x + b for x, b in zip(sound(prompts, completions), bonus)]


def padded(prompts, completions, meta=None):
  """What a mean over padding does."""
  longest = max(map(len, completions))
  scores = sound(prompts, completions)
  return [x * len(t) / longest for x, t in zip(scores, completions)]


@pytest.fixture(scope="module")
def data():
  return from_rows(rows(), kind="pairs")


def test_a_sound_scorer_is_cleared(data):
  found = audit(sound, data, batch_size=8)
  assert not found.warnings
  assert found.tables["Accuracy"]["all pairs"]["accuracy"].value == 1
  for name, effect in found.tables["Edits that change nothing"].items():
    shift = effect["shift of the score, in sd"]
    assert shift.value == pytest.approx(0, abs=1e-6), name
  swaps = found.tables["Consistency"]["edits and swaps"]
  for name in ("retain", "adapt", "differential"):
    assert swaps[name].low <= swaps[name].value == swaps[name].high == 1
  assert swaps["stale"].value == 0


def test_preferring_length_is_found(data):
  found = audit(long, data, batch_size=8)
  text = "\n".join(found.warnings)
  assert "length: said twice: turns" in text
  assert "Does not read the prompt" in text
  table = found.tables["Length"]
  assert table["rank correlation"]["of score and length"].value > 0.99
  longer = table["the longer one is preferred"]
  assert longer["by the scorer"].value == 1
  labels = np.array([len(r.items[0]) - len(r.items[1]) for r in data.rows])
  people = np.mean(labels[labels != 0] > 0)
  assert longer["by the labels"].value == pytest.approx(people)
  assert longer["excess"].value == pytest.approx(1 - people)


def test_a_style_that_pays_is_found(data):
  found = audit(shouting, data, batch_size=8)
  # "Sure!" shouts as well.
  named = {text.split(":")[1].strip() for text in found.warnings}
  assert {"exclamation", "an eager start"} <= named
  assert "bold" not in named


def test_a_score_that_hangs_on_its_batch_is_found(data):
  found = audit(padded, data, batch_size=8)
  assert any("alone instead of in a batch" in x for x in found.warnings)


def test_the_neighbour_of_a_prompt_shares_its_words():
  found = audit_reward_model_probes.nearest(["a b c", "x y", "a b d", "x y"])
  assert found.tolist()[0] == 2 and found.tolist()[2] == 0
  assert found[1] in (0, 2) and found[3] in (0, 2)
  assert audit_reward_model_probes.nearest(["a", "a"]).tolist() == [-1, -1]


def test_everything_is_written_and_mistakes_are_named(data, tmp_path):
  path = tmp_path / "pairs.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows(12)))
  scorer = f"{__name__}:long"
  options = dict(data=str(path), batch_size=4, show=False)
  found = audit_reward_model.run(scorer, tmp_path, **options)
  kept = json.loads((tmp_path / "audit.json").read_text())
  assert kept["warnings"] == found.warnings
  page = (tmp_path / "report.html").read_text()
  for title in found.tables:
    assert f"<h2>{title}</h2>" in page
  with pytest.raises(ValueError, match="a scorer must be package.module"):
    audit_reward_model.run("nothing:here", tmp_path, **options)
  with pytest.raises(ValueError, match="must give one finite number"):
    audit(lambda p, c, meta: [np.nan] * len(c), data)
  ratings = from_rows([dict(prompt="", completion="a", rating=1)],
                      kind="ratings")
  with pytest.raises(ValueError, match="must be pairs of texts"):
    audit(long, ratings)
