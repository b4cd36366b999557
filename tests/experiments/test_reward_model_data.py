"""Rows, batches and losses of `experiments.reward_model`; nothing trains."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs.reward_model import base
from experiments import (
    reward_model_batches,
    reward_model_data,
    reward_model_lanes,
    reward_model_losses,
    reward_model_targets,
)
from experiments.reward_model import check, from_arrays, from_rows, read
from experiments.reward_model_batches import Batches, Coder
from rewardjax.data.tokenizers import ByteTokenizer

GOOD = {
    "pairs": dict(prompt="p", chosen="a", rejected="b"),
    "ties": dict(prompt="p", chosen="a", rejected="b", label=0),
    "ratings": dict(prompt="p", completion="a", rating=3),
    "rankings": dict(prompt="p", completions=["a", "b"], ranks=[2, 1]),
    "steps": dict(prompt="p", steps=["a", "b"], labels=[1, 0]),
}
BAD = [
    ("pairs", dict(chosen="b"), "'chosen' and 'rejected' are equal, 'b'"),
    ("pairs", dict(rejected="  "), "field 'rejected' must be a text"),
    ("pairs", dict(prompt=3), "field 'prompt' must be a string, got 3"),
    ("pairs", dict(strength=-1), "field 'strength' must be a finite number"),
    ("pairs", dict(weight="x"), "field 'weight' must be a finite number, at"),
    ("pairs", dict(gold=0), "field 'gold' must be 1 or -1, got 0"),
    ("ties", dict(label=2), "field 'label' must be 1 .* got 2"),
    ("ratings", dict(rating=True), "field 'rating' must be a finite number"),
    ("rankings", dict(ranks=[1]), "field 'ranks' has 1 entries for 2 compl"),
    ("rankings", dict(completions=["a"], ranks=[1]), "has less than two"),
    ("steps", dict(labels=[1]), "field 'labels' has 1 entries for 2 steps"),
    ("steps", dict(labels=[1, 2]), r"field 'labels' must be .* in \[0, 1\]"),
    ("steps", dict(steps=[]), "field 'steps' must be a list"),
]


def write(path, *rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_is_read(kind, tmp_path):
  row = GOOD[kind] | dict(source="s", annotator=7, weight=0.5, other=[1])
  data = read(write(tmp_path / "x.jsonl", row, row), kind=kind)
  assert len(data) == 2 and data.width == 0
  assert data.names("annotator") == ["7"] and data.names("user") == []
  assert data.rows[1].values["weight"] == 0.5


@pytest.mark.parametrize(("kind", "changes", "message"), BAD)
def test_bad_rows_are_named_by_line_and_field(kind, changes, message, tmp_path):
  good = GOOD[kind]
  path = write(tmp_path / "x.jsonl", good, good | changes)
  with pytest.raises(ValueError, match=f"x.jsonl:2: .*{message}"):
    read(path, kind=kind)
  field = next(iter(good))
  path = write(tmp_path / "x.jsonl", {k: good[k] for k in good if k != field})
  with pytest.raises(ValueError, match=f"x.jsonl:1: field {field!r} is miss"):
    read(path, kind=kind)


def test_chains_of_multi_rm_are_read_from_several_files(tmp_path):
  row = {"q_id": 1, "cot_id": 0, "question": "p", "cot": ["a", "b"],
         "labels": [1, -1], "answer": "A", "parsed_answer": "A"}
  names = []
  for name in ("law.jsonl", "math.jsonl"):
    (tmp_path / name).write_text(json.dumps(row) + "\n")
    names.append(str(tmp_path / name))
  data = read("multi_rm:" + ",".join(names), kind="steps")
  assert [x.items for x in data.rows] == [("a", "b")] * 2
  assert data.rows[0].values == {
      "labels": (1.0, 0.0), "correct": True, "weight": 1.0
  }
  assert data.names("source") == ["law", "math"]
  with pytest.raises(ValueError, match="law.jsonl:1: field 'chosen' is miss"):
    read(f"multi_rm:{names[0]}", kind="pairs")


def test_what_is_no_data_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no row"):
    read(write(tmp_path / "x.jsonl"), kind="pairs")
  with pytest.raises(ValueError, match="kind must be one of .* got 'pear'"):
    from_rows([], kind="pear")
  with pytest.raises(ValueError, match="columns must be equally long"):
    from_arrays(kind="pairs", chosen=["a"], rejected=["b", "c"])
  with pytest.raises(ValueError, match="rows, row 1: items must all be texts"):
    rows = [dict(prompt="", chosen=[1, 2], rejected=x) for x in ([3, 4], [5])]
    from_rows(rows, kind="pairs")


def test_arrays_and_data_sets_of_bytes_are_read():
  features = np.arange(12, dtype=np.float64).reshape(2, 3, 2)
  data = from_arrays(kind="rankings", completions=features,
                     ranks=jnp.array([[1, 2, 3], [3, 2, 1]]))
  assert data.width == 2 and data.rows[1].prompt == "1"
  np.testing.assert_array_equal(data.rows[1].items[2], [10, 11])
  features[1, 2, 0] = np.nan
  with pytest.raises(ValueError, match="arrays, row 1: field 'completions'"):
    from_arrays(kind="rankings", completions=features, ranks=[[1, 2, 3]] * 2)
  row = dict(prompt=b"p", steps=np.array([b"a", b"b"], object),
             labels=np.array([True, False]))
  (row,) = from_rows([row], kind="steps").rows
  assert row.items == ("a", "b") and row.values["labels"] == (1.0, 0.0)


class Chains(tfds.core.GeneratorBasedBuilder):
  """Two rows of steps, as somebody's data set has them."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = dict(
        prompt=tfds.features.Text(),
        steps=tfds.features.Sequence(tfds.features.Text()),
        labels=tfds.features.Sequence(np.float32),
        correct=np.bool_,
        source=np.int64,
    )
    features = tfds.features.FeaturesDict(features)
    return tfds.core.DatasetInfo(builder=self, features=features,
                                 disable_shuffling=True)

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for i in range(2):
      yield i, dict(prompt="é", steps=["a", "b"][: i + 1],
                    labels=[1.0, 0.5][: i + 1], correct=True, source=7)


def test_tfds_is_read_by_name_and_from_the_directory_of_a_version(tmp_path):
  make = lambda **how: Chains(data_dir=str(tmp_path), **how)
  builder = make(file_format="array_record")
  builder.download_and_prepare()
  data = read(f"tfds:{builder.data_dir}", kind="steps")
  assert [row.items for row in data.rows] == [("a",), ("a", "b")]
  assert data.rows[1].values["labels"] == (1.0, 0.5)
  assert data.rows[1].values["correct"] and data.rows[1].prompt == "é"
  assert data.rows[0].names == {"source": "7"}
  tfds.core.add_data_dir(tmp_path)
  assert read("tfds:chains", kind="steps").rows[1].place == (
      "tfds:chains, row 1"
  )
  with pytest.raises(ValueError, match="tfds:chains, row 0: field 'compl"):
    read("tfds:chains", kind="rankings")
  with pytest.raises(ValueError, match="no_such_rows"):
    read("tfds:no_such_rows", kind="steps")


def test_prompts_are_split_whole():
  rows = [
      dict(prompt=str(i % 10), chosen=f"a{i}", rejected="b") for i in range(50)
  ]
  data = from_rows(rows, kind="pairs")
  parts = reward_model_data.split(data, 0.2, 0.1, seed=1)
  assert [len(p) for p in parts] == [35, 10, 5]
  prompts = [{row.prompt for row in part.rows} for part in parts]
  assert not set.intersection(*prompts[:2]) | (prompts[0] & prompts[2])
  assert sum(map(len, prompts)) == 10
  with pytest.raises(ValueError, match="10 prompts are too few"):
    reward_model_data.split(data, 0.5, 0.5, seed=1)


CODER = Coder(ByteTokenizer(), separator="|")


def encode(data, coder=CODER, **targets):
  return [
      reward_model_batches.encode(
          coder, data.kind, row, dict(weight=1.0, user=0) | targets
      )
      for row in data.rows
  ]


def test_sequences_by_hand():
  (row,) = encode(from_rows([GOOD["pairs"]], kind="pairs"))
  bos, eos = 257, 258
  for x, letter in zip(row.sequences, b"ab"):
    assert x.tolist() == [bos, ord("p"), ord("|"), letter, eos]
  assert row.readouts == ((0, 4), (1, 4))
  (row,) = encode(from_rows([GOOD["steps"]], kind="steps"))
  assert row.sequences[0].tolist() == [bos, *b"p|ab", eos]
  assert row.readouts == ((0, 3), (0, 4))  # at the end of each step


def test_long_texts_are_refused_or_lose_the_front_of_the_prompt():
  data = from_rows([GOOD["pairs"] | dict(prompt="pqrs")], kind="pairs")
  with pytest.raises(ValueError, match="rows, row 0: .* 8 tokens, max_length"):
    encode(data, CODER._replace(max_length=5))
  cut = CODER._replace(max_length=5, too_long="cut")
  assert encode(data, cut)[0].sequences[0].tolist()[:3] == list(b"rs|")
  with pytest.raises(ValueError, match="is 1; .*the completion alone has 2"):
    encode(data, cut._replace(max_length=1))


def test_packed_lanes_hold_every_token_once():
  rng = np.random.default_rng(0)
  rows = [
      dict(prompt="", chosen="a" * a, rejected="b" * b)
      for a, b in rng.integers(1, 30, (16, 2))
  ]
  encoded = encode(from_rows(rows, kind="pairs"))
  total = sum(reward_model_lanes.lengths_of(encoded))
  sizes = {}
  for packs in (True, False):
    x = reward_model_batches.cover(encoded, batch_size=16, packs=packs)
    assert (x["segments"] > 0).sum() == total
    read = np.take_along_axis(x["tokens"], x["places"], axis=-1).reshape(-1)
    assert (read[x["ends"].reshape(-1)] == 258).all()
    sizes[packs] = x["tokens"].size
  assert sizes[True] < 0.75 * sizes[False]


def test_batches_go_on_where_they_were_and_use_no_row_twice():
  rows = [
      dict(prompt="", chosen="a" * i, rejected="b") for i in range(2, 12)
  ]
  encoded = encode(from_rows(rows, kind="pairs"))
  make = lambda members=(0, 3): Batches(
      encoded, batch_size=4, num_blocks=2, num_steps=5, seed=0, members=members
  )
  batches = make()
  seen = [next(batches) for _ in range(5)]
  again = make()
  again.set_state(json.loads(json.dumps({"step": 3, "rows": 10, "seed": 0})))
  for x, y in zip(seen[3:], (next(again), next(again))):
    jax.tree.map(np.testing.assert_array_equal, x, y)
  assert batches.get_state()["step"] == 5
  # The last of an ensemble sees what it sees alone.
  alone = next(make((3,)))
  np.testing.assert_array_equal(alone["weight"][0], seen[0]["weight"][1])
  orders = [reward_model_batches.order(0, 3, e, 10) for e in range(2)]
  assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
  assert (orders[0] != orders[1]).any()
  with pytest.raises(ValueError, match="checkpoint's rows is 9, ours 10"):
    again.set_state({"step": 0, "rows": 9, "seed": 0})
  for bad, message in ((dict(batch_size=11), r"in \[1, 10\]"),
                       (dict(num_blocks=3), "a multiple of num_microbatches")):
    with pytest.raises(ValueError, match=message):
      Batches(encoded, **dict(batch_size=4, num_blocks=2, num_steps=1, seed=0)
              | bad)


CONFIGS = [
    ("pairs", {"loss.name": "listwise"}, "loss.name must be one of bradley"),
    ("pairs", {"num_steps": 3}, "config.num_steps must be a positive multiple"),
    ("pairs", {"aggregate.name": "max"}, "name must be one of mean, median"),
    ("pairs", {"held_out": 0.0}, "config.held_out must be above 0"),
    ("pairs", {"noise.name": "forward", "loss.smoothing": 0.1}, "goes with"),
    (
        "ties",
        {"noise.name": "forward", "loss.name": "rao_kupper"},
        "needs config.loss.name='bradley_terry', got 'rao_kupper'",
    ),
    ("ratings", {"loss.name": "regression", "loss.scale": (2.0, 1.0)}, "scale"),
]


def config_of(**changes):
  config = base.get_config("tiny")
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize(("kind", "changes", "message"), CONFIGS)
def test_configs_that_make_no_sense_are_named(kind, changes, message):
  with pytest.raises(ValueError, match=message):
    check(config_of(**changes), kind)


def targets(kind, row, users=None, **changes):
  config = config_of(**changes)
  data = from_rows([GOOD[kind] | row], kind=kind)
  reward_model_targets.check_differences(config, data)
  return reward_model_targets.targets(config, data, users or {})[0]


UNFIT = [
    ("ties", {}, {"loss.name": "rao_kupper"}, "'label' is the same everywhere"),
    ("ratings", {}, {"loss.name": "regression"}, "'rating' is the same every"),
    ("steps", dict(labels=[1, 1]), {"loss.name": "prm"}, "'labels' is the"),
    ("pairs", {}, {"loss.strength": "margin"}, "field 'strength' is missing"),
]


@pytest.mark.parametrize(("kind", "row", "changes", "message"), UNFIT)
def test_rows_a_loss_cannot_learn_from_are_named(kind, row, changes, message):
  with pytest.raises(ValueError, match=f"rows, row 0.*{message}"):
    targets(kind, row, **changes)


def test_ties_ratings_annotators_and_users_must_be_known():
  config = config_of()
  data = from_rows([GOOD["ties"] | dict(label=1), GOOD["ties"]], kind="ties")
  with pytest.raises(ValueError, match="row 1: field 'label' is 0, a tie"):
    reward_model_targets.targets(config, data, {})
  config = config_of(**{"loss.name": "regression"})
  rows = [GOOD["ratings"], GOOD["ratings"] | dict(rating=5.5)]
  data = from_rows(rows, kind="ratings")
  with pytest.raises(ValueError, match=r"row 1: .*\[1, 5\], got 5.5"):
    reward_model_targets.targets(config, data, {})
  noise = {"noise.name": "forward", "noise.by": "annotator"}
  with pytest.raises(ValueError, match="'annotator' is 'eve', unknown"):
    targets("pairs", dict(annotator="eve"), **noise)
  with pytest.raises(ValueError, match="field 'user' is missing"):
    targets("pairs", {}, users={"u": 0})
  rates = {"noise.rates": dict(ada=(0.1, 0.2), bob=0.3)}
  config = config_of(**noise)
  config.noise.rates = rates["noise.rates"]
  rows = [GOOD["pairs"] | dict(annotator=x) for x in ("ada", "bob")]
  found = reward_model_targets.targets(
      config, from_rows(rows, kind="pairs"), {}
  )
  assert [x["false_positive"] for x in found] == [0.1, 0.3]
  assert [x["false_negative"] for x in found] == [0.2, 0.3]


def batch_of(**arrays):
  ready = dict(weight=[[1.0, 1.0]], user=[[0, 0]]) | arrays
  return {name: jnp.array(x) for name, x in ready.items()}


def loss_of(kind, outputs, batch, **changes):
  config = config_of(**{"loss.centre": 0.0} | changes)
  params = {"tie": jnp.zeros(())}
  outputs = jnp.array(outputs)[None]
  loss, _ = reward_model_losses.make(config, kind)(params, outputs, batch)
  return float(loss.value), float(loss.weight)


PAIRS = [[[2.0], [1.0]], [[0.0], [3.0]]]  # rewards of two pairs
log_sigmoid = lambda x: -np.log1p(np.exp(-x))


def test_losses_of_comparisons_by_hand():
  mask = [[[True, True]] * 2]
  base = batch_of(outcome=[[1, -1]], mask=mask, strength=[[1.0, 3.0]])
  expect = lambda *x: pytest.approx(x, rel=1e-5)
  plain = -(log_sigmoid(1) + log_sigmoid(3)) / 2
  assert loss_of("pairs", PAIRS, base) == expect(plain, 2)
  weighted = -(log_sigmoid(1) + 3 * log_sigmoid(3)) / 4
  strong = {"loss.strength": "weight"}
  assert loss_of("pairs", PAIRS, base, **strong) == expect(weighted, 4)
  margin = -(log_sigmoid(0) + log_sigmoid(0)) / 2
  strong = {"loss.strength": "margin"}
  assert loss_of("pairs", PAIRS, base, **strong) == expect(margin, 2)
  smooth = plain + 0.1 * (1 + 3) / 2
  soft = {"loss.smoothing": 0.1}
  assert loss_of("pairs", PAIRS, base, **soft) == expect(smooth, 2)
  noisy = base | batch_of(
      false_positive=[[0.2, 0.1]], false_negative=[[0.3, 0.4]]
  )
  first = 1 / (1 + np.exp(-np.array([1.0, -3.0])))
  said = [
      0.7 * first[0] + 0.2 * (1 - first[0]),
      1 - (0.6 * first[1] + 0.1 * (1 - first[1])),
  ]
  forward = {"noise.name": "forward"}
  found = loss_of("pairs", PAIRS, noisy, **forward)
  assert found == expect(-np.mean(np.log(said)), 2)
  # The larger of two losses is left out once the warm-up is over.
  few = {"noise.name": "small_loss", "noise.false_positive": 0.5}
  late = base | batch_of(step=[1000])
  assert loss_of("pairs", PAIRS, late, **few) == expect(-log_sigmoid(3), 1)


@pytest.mark.parametrize("kind", GOOD)
def test_a_batch_of_padding_is_zero_of_weight_zero(kind):
  """NaN in what is masked reaches neither the loss nor its gradient."""
  name = reward_model_losses.LOSSES[kind][0]
  config = config_of(**{"loss.name": name})
  loss_fn = reward_model_losses.make(config, kind)
  batch = batch_of(
      mask=[[[False] * 2] * 2], weight=[[0.0, 0.0]], outcome=[[1, 1]],
      rating=[[0.0, 0.0]], ranks=[[[0, 1]] * 2], labels=[[[0.0, 1.0]] * 2],
      correct=[[True, False]],
  )

  def total(outputs):
    loss, metrics = loss_fn({"tie": jnp.zeros(())}, outputs, batch)
    return loss.total, (loss.value, loss.weight, metrics)

  outputs = jnp.full((1, 2, 2, 1), jnp.nan)
  grads, (value, weight, metrics) = jax.grad(total, has_aux=True)(outputs)
  assert value == weight == 0
  assert not np.any(grads)
  assert all(np.isfinite(x.value) for x in metrics.values())
