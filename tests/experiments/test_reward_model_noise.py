"""Wrong labels in `experiments.reward_model`: estimated, avoided, mended."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.reward_model import levels
from experiments import (
    reward_model,
    reward_model_losses,
    reward_model_measures,
    reward_model_noise,
    reward_model_rates,
    reward_model_relabel,
    reward_model_report,
    reward_model_sample,
    reward_model_stages,
    reward_model_targets,
)
from experiments.reward_model import check, from_arrays, from_rows
from rewardjax.noise import rates
from rewardjax.recipes import latent_rewards
from tests.experiments.test_reward_model import fast_config


def config_of(**changes):
  steps = dict(num_steps=20, log_every=10, checkpoint_every=10)
  return fast_config(**steps | changes)


# Estimates: nothing trains.


def settle(rows, kind="pairs", **changes):
  """Rates by name, and the notes, of `forward` by annotators."""
  noise = {"noise.name": "forward", "noise.by": "annotator"}
  config = config_of(**noise | {f"noise.{k}": x for k, x in changes.items()})
  check(config, kind)
  return reward_model_noise.settle(config, from_rows(rows, kind=kind).rows)


def pair(prompt, annotator="ada", says=True, **fields):
  """The same two texts for everybody; `says` that "a" is the better."""
  chosen, rejected = "ab" if says else "ba"
  return dict(prompt=str(prompt), chosen=chosen, rejected=rejected,
              annotator=annotator) | fields


def test_rates_come_from_labels_that_were_checked():
  rows = [pair(i, gold=1 if i else -1) for i in range(4)]
  rows += [pair(i, "bob", gold=1) for i in range(8)] + [pair(9, "bob")]
  found = settle(rows, estimate="gold")
  expected = rates.rate_from_counts(jnp.array([1.0, 0.0]), jnp.array([4.0, 8]))
  assert expected.rate.tolist() == pytest.approx([2 / 6, 1 / 10])
  assert found.table["ada"] == pytest.approx((2 / 6, 2 / 6))
  assert found.table["bob"] == pytest.approx((1 / 10, 1 / 10))
  notes = np.array([*found.notes["Flip rates"].values()])
  np.testing.assert_allclose(notes, np.stack(expected, 1), rtol=1e-5)
  strict = settle(rows, estimate="gold", prior=(1e-6, 1e-6))
  assert strict.table["ada"] == pytest.approx((0.25, 0.25), rel=1e-4)
  # Both rates, where rows do not list the preferred one first.
  fields = [(1, 1), (1, -1), (-1, -1), (-1, -1), (-1, 1), (0, 1)]
  rows = [pair(i, label=x, gold=g) for i, (x, g) in enumerate(fields)]
  found = settle(rows, "ties", estimate="gold", symmetric=False)
  assert found.table["ada"] == pytest.approx((2 / 5, 2 / 4))
  assert len(found.notes) == 2


def test_rates_come_from_pairs_that_were_labelled_twice():
  """Whichever is listed first; d = 2 e (1 - e) = 0.32 at e = 0.2."""
  rows = [pair(i) for i in range(25)]
  rows += [pair(i, says=i >= 8) for i in range(25)]
  rows += [pair(i, "bob") for i in range(2)] * 2
  found = settle(rows, estimate="repeats")
  assert found.table["ada"] == pytest.approx((0.2, 0.2), rel=1e-5)
  assert found.table["bob"] == (0, 0)
  rate, low, high, count = found.notes["Flip rates"]["ada"]
  assert low < rate < high and count == 25
  everybody = settle(rows[:25] + rows[50:], estimate="repeats", by="")
  assert list(everybody.notes["Flip rates"]) == ["everybody"]
  assert everybody.notes["Flip rates"]["everybody"][3] == 2
  row = from_rows([pair(0)], kind="pairs").rows[0]
  config = config_of(**{"noise.name": "forward", "noise.by": "annotator"})
  found = reward_model_targets.targets(
      config, reward_model.Data("pairs", (row,)), {}, found.table
  )
  assert found[0]["false_positive"] == pytest.approx(0.2, rel=1e-5)


def test_rates_come_from_what_three_annotators_share():
  """Mean products 0.6, 0.4 and 0.3: 1 - 2e is the root of 0.6 0.4 / 0.3."""
  signs = np.ones((20, 3), int)
  signs[:4, 1] = -1  # a b: 12 / 20
  signs[4:9, 2], signs[0, 2] = -1, -1
  product = lambda i, j: np.mean(signs[:, i] * signs[:, j])
  a, b, c = product(1, 2), product(0, 2), product(0, 1)
  expected = (1 - np.sqrt([b * c / a, a * c / b, a * b / c])) / 2
  rows = [
      pair(i, name, says=x > 0)
      for i, row in enumerate(signs)
      for name, x in zip(("ada", "bob", "cleo"), row)
  ]
  found = settle(rows, estimate="annotators")
  actual = [found.table[x][0] for x in ("ada", "bob", "cleo")]
  np.testing.assert_allclose(actual, np.maximum(expected, 0), atol=1e-5)
  for rate, low, high, count in found.notes["Flip rates"].values():
    assert low <= rate + 1e-6 and rate <= high + 1e-6 and count == 20
  assert found.notes["Flip rates"]["bob"][2] > 0.1


def test_the_share_that_is_left_out_is_estimated_too():
  rows = [pair(i, gold=1 if i else -1) for i in range(4)]
  found = settle(rows, estimate="gold", name="small_loss", by="")
  assert found.config.noise.false_positive == pytest.approx(2 / 6)


NOT_TOLD = [
    (dict(estimate="gold"), [pair(0, gold=1), pair(1, "bob")],
     "no row of annotator 'bob' has the field 'gold'"),
    (dict(estimate="repeats", by=""), [pair(0), pair(1)],
     "no row labels a pair that another one labels too"),
    (dict(estimate="repeats", by=""), [pair(0), pair(0, says=False)],
     "there is nothing to learn"),
    (dict(estimate="annotators"), [pair(0), pair(0, "bob")],
     "needs three names in the field 'annotator', got 2"),
    (dict(estimate="annotators"), [pair(i, str(i)) for i in range(3)],
     "no row of annotator '0' labels a pair that others label"),
    (dict(estimate="gold", by="source"), [pair(0, gold=1)],
     "row 0: field 'source' is missing"),
]


@pytest.mark.parametrize(("changes", "rows", "message"), NOT_TOLD)
def test_what_rows_do_not_tell_is_named(changes, rows, message):
  with pytest.raises(ValueError, match=message):
    settle(rows, **changes)


CONFIGS = [
    ({"noise.estimate": "guess"}, "estimate must be one of given, gold"),
    ({"noise.estimate": "gold"}, "needs config.noise.name to be one of"),
    ({"noise.name": "forward", "noise.estimate": "annotators"},
     "needs config.noise.by='annotator' or 'source'"),
    ({"noise.name": "forward", "noise.estimate": "gold",
      "noise.symmetric": False}, "needs estimate='gold' and rows of kind"),
    ({"noise.name": "forward", "noise.false_positive": 1.5}, "false_positive"),
    ({"noise.name": "co_teaching"}, "members and first_member must be even"),
    ({"noise.name": "co_teaching", "members": 2, "num_microbatches": 2},
     "ranks a whole batch"),
    ({"noise.name": "relabel", "loss.strength": "margin"}, "goes with neither"),
    ({"noise.name": "relabel", "relabel.num_steps": 3}, "relabel.num_steps"),
    ({"noise.name": "relabel", "relabel.flip": 0.95}, "sum_of_shares"),
    ({"noise.name": "relabel", "relabel.labels": "x"}, "labels must be one of"),
    ({"loss.levels": 3}, "config.loss.levels needs name='ordinal'"),
    ({"loss.name": "ordinal", "loss.levels": 3}, "a multiple of it, got 3, 'o"),
    ({"loss.name": "ordinal", "loss.regions": "x"}, "regions must be one of"),
]


@pytest.mark.parametrize(("changes", "message"), CONFIGS)
def test_configs_that_make_no_sense_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    check(config_of(**{"relabel.num_steps": 20} | changes), "pairs")


def test_trusted_rows_check_the_labels_of_the_same_pairs():
  rows = [pair(0), pair(1), pair(2), pair(3, says=False)]
  trusted = [pair(0, "x"), pair(1, "x", says=False), pair(3, "x", says=False)]
  data, trusted = (from_rows(x, kind="pairs") for x in (rows, trusted))
  found = reward_model_rates.with_gold(data, trusted)
  assert [row.values.get("gold") for row in found.rows] == [1, -1, None, 1]
  other = from_rows([pair(7)], kind="pairs")
  with pytest.raises(ValueError, match="none of the 1 trusted rows"):
    reward_model_rates.with_gold(data, other)


# Losses by hand.

PAIRS = jnp.array([[[[2.0], [1.0]], [[0.0], [3.0]], [[1.0], [1.0]]]])


def batch_of(**arrays):
  ready = dict(weight=[[1.0] * 3], user=[[0] * 3], outcome=[[1, -1, 1]],
               mask=[[[True, True]] * 3])
  return {name: jnp.array(x) for name, x in (ready | arrays).items()}


def loss_of(batch, outputs=PAIRS, **changes):
  config = config_of(**{"loss.centre": 0.0} | changes)
  return reward_model_losses.make(config, "pairs")({}, outputs, batch)[0]


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_at_rate_zero_a_corrected_loss_is_the_plain_one(name):
  rates = {x: [[0.0] * 3] for x in ("false_positive", "false_negative")}
  found = loss_of(batch_of(**rates), **{"noise.name": name})
  np.testing.assert_allclose(found, loss_of(batch_of()), rtol=1e-6)


def test_a_relabelled_pair_has_its_target_and_margin():
  diffs, target, margin = np.array([1, 3, 0]), [0.0, 1.0, 0.7], [-1.0, 0.0, 0.5]
  z = diffs - margin
  expected = np.log1p(np.exp(-z)) * target + np.log1p(np.exp(z)) * (
      1 - np.array(target)
  )
  batch = batch_of(target=[target], margin=[margin])
  assert loss_of(batch).value == pytest.approx(expected.mean(), rel=1e-6)
  ready = batch_of(target=[[1.0] * 3], margin=[[0.0] * 3])
  np.testing.assert_allclose(loss_of(ready), loss_of(batch_of()), rtol=1e-6)


def test_peers_leave_out_what_the_other_finds_hard():
  """Two members: the pair with the largest loss of the other one is left."""
  changes = {"noise.name": "co_teaching", "noise.false_positive": 0.3,
             "members": 2, "loss.centre": 0.0}
  loss_fn = reward_model_losses.make(config_of(**changes), "pairs")
  outputs = jnp.stack([PAIRS, PAIRS[:, ::-1]])
  batch = batch_of(step=[1000])
  found, _ = jax.vmap(
      lambda x: loss_fn({}, x, batch), axis_name=reward_model_losses.MEMBERS
  )(outputs)
  # Margins 1, 3, 0 of the first; 0, -3, 1 of the second, reversed.
  losses = np.log1p(np.exp(-np.array([[1, 3, 0], [0, 3, 1]])))
  assert [int(x) for x in found.weight] == [2, 2]
  kept = [losses[0, [1, 2]].sum(), losses[1, [0, 1]].sum()]
  np.testing.assert_allclose(found.total, kept, rtol=1e-6)


def test_peers_see_the_same_rows_and_only_they():
  config = config_of(**{"members": 4, "first_member": 2})
  assert reward_model_stages._orders(config) == [2, 3, 4, 5]
  config.noise.name = "co_teaching"
  assert reward_model_stages._orders(config) == [2, 2, 4, 4]


def test_margins_of_an_ensemble_become_labels():
  mean = np.arange(-2.0, 8.0)
  margins = np.stack([mean - 1, mean + 1], 1).astype(np.float32)
  margins[0] = (-12, 8)  # the lowest mean, but they differ most
  changes = {"relabel.flip": 0.2, "relabel.drop": 0.1, "relabel.soften": 0.1,
             "relabel.smoothing": 0.2, "relabel.margin_scale": 2.0}
  found = reward_model_relabel.mend(config_of(**changes), margins)
  assert [x["target"] for x in found] == pytest.approx([0, 0] + [1] * 7 + [0.8])
  assert [x["weight"] for x in found] == [1, 1, 0] + [1] * 7
  assert [x["margin"] for x in found] == pytest.approx(2 * margins.mean(1))
  changes["relabel.std_weight"] = 1.0
  found = reward_model_relabel.mend(config_of(**changes), margins)
  assert [x["target"] for x in found[:3]] == [1, 0, 0]
  soft = {"relabel.labels": "agreement", "loss.beta": 0.5}
  found = reward_model_relabel.mend(config_of(**soft), margins)
  expected = (1 / (1 + np.exp(-margins / 2))).mean(1)
  assert [x["target"] for x in found] == pytest.approx(expected, rel=1e-5)
  assert {(x["margin"], x["weight"]) for x in found} == {(0, 1)}


# Levels.


def test_levels_are_those_of_the_recipe():
  ratings = [(5, 1), (3, 3), (1, 5), (None, 2), (4, 2)]
  rows = [
      pair(i, label=-1 if i == 4 else 1, chosen_rating=a, rejected_rating=b)
      for i, (a, b) in enumerate(ratings)
  ]
  config = levels.get_config("tiny")
  data = from_rows(rows, kind="ties")
  found = reward_model_targets.targets(config, data, {})
  known = [(x["high_level"], x["low_level"], x["weight"]) for x in found]
  # The third denies its label, and so does the last, whose label is reversed.
  assert known == [(2, 0, 1), (1, 1, 1), (-1, -1, 0), (-1, -1, 1), (-1, -1, 0)]
  logits = np.random.default_rng(0).normal(size=(5, 2, 9)).astype(np.float32)
  batch = {k: jnp.array([[x[k] for x in found]]) for k in found[0]}
  batch["mask"] = jnp.ones((1, 5, 2), bool)
  for mode in ("flood", "block"):
    config.loss.regions = mode
    loss_fn = jax.jit(reward_model_losses.make(config, "ties"))
    loss, _ = loss_fn({}, jnp.array(logits)[None], batch)
    oprm = jax.jit(latent_rewards.oprm, static_argnames="mode")
    expected, _ = oprm(
        *jnp.array(logits[:4]).swapaxes(0, 1),
        (jnp.array([2, 1, 0, 0]), jnp.array([0, 1, 2, 0])),
        jnp.array([True, True, True, False]),
        mode=mode,
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
  rows[0]["chosen_rating"] = 6
  with pytest.raises(ValueError, match="row 0: field 'chosen_rating' must be"):
    reward_model_targets.targets(config, from_rows(rows, kind="ties"), {})


def test_an_item_is_in_the_level_of_its_mean_grade():
  rows = [pair(0, chosen_rating=5, rejected_rating=1), pair(1),
          pair(2, chosen_rating=3)]
  grades = {"a": np.array([[6.4, 6.7]]), "b": np.array([[3.4, 3.4]])}

  class Model:
    config = levels.get_config("tiny")

    def members(self, prompts, completions, users):
      del users
      assert list(prompts) == ["0", "0", "2"]
      return np.concatenate([grades[x] for x in completions])

  data = from_rows(rows, kind="pairs")
  found = reward_model_measures._levels(Model(), data)["accuracy of levels"]
  # Means 6.55 (of 7 to 9), 3.4 (of 1 to 3), and 6.55 again, not of 4 to 6.
  assert found[0] == pytest.approx(2 / 3) and found.count == 3
  unrated = reward_model.Data("pairs", data.rows[1:2])
  assert not reward_model_measures._levels(Model(), unrated)


def test_samples_are_rated_and_labelled_by_several():
  options = config_of().sample
  options.update(rated=0.5, labels=2, num_prompts=40)
  options.annotators = dict(ada=0.0, bob=0.0, cleo=0.5)
  for kind in ("pairs", "ties"):
    data = reward_model_sample.make(kind, options, 0)
    assert len(data) == 40 * 4 * 2
    assert len({reward_model_rates.pair_key(r)[0] for r in data.rows}) == 160
    share = np.mean(["chosen_rating" in row.values for row in data.rows])
    assert 0.4 < share < 0.6
    wrong = lambda row: row.values["gold"] * row.values["outcome"] < 0
    shares = {
        name: np.mean([wrong(r) for r in data.rows
                       if r.names["annotator"] == name])
        for name in ("ada", "bob", "cleo")
    }
    assert shares["ada"] == shares["bob"] == 0
    assert 0.3 < shares["cleo"] < 0.6


def test_what_was_found_out_about_labels_is_in_the_report(tmp_path):
  model = reward_model.RewardModel(
      None, None, {}, reward_model.About(
          "pairs", notes={"Flip rates": {"ada": (0.1, 0.05, 0.2, 40)}}
      ),
      history=[{"step": 2, "loss": 1.0, "held_out/loss": 1.0, "best_step": 2.0}]
  )
  config = config_of(**{"members": 1})
  reward_model_report.publish(config, model, tmp_path, show=False)
  found = json.loads((tmp_path / "measures.json").read_text())["notes"]
  assert found == {"Flip rates": {
      "ada": dict(value=0.1, low=0.05, high=0.2, count=40)
  }}
  page = (tmp_path / "report.html").read_text()
  assert "<h2>Flip rates</h2>" in page
  assert "0.100 [0.050, 0.200] (n=40)" in page


# Heads on given features: programs that compile in no time.


def noisy_data(share=0.25, num_rows=120):
  """Pairs of which every fourth prompt's label is wrong, and checked."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(num_rows, 2, 3)).astype(np.float32)
  better = (x @ np.array([1.0, -2.0, 0.5]))[:, :, None].argmax(1)[:, 0]
  wrong = rng.random(num_rows) < share
  first = better ^ wrong
  rows = np.arange(num_rows)
  return from_arrays(kind="pairs", chosen=x[rows, first],
                     gold=1 - 2 * wrong,
                     rejected=x[rows, 1 - first])


def train(**changes):
  data = noisy_data(share=0.0)
  half = {"held_out": 0.5, "test": 0.0, "batch_size": 60, "members": 2,
          "model.head_widths": (4,)}
  return reward_model.train(config_of(**half | changes), data, progress=False)


def test_co_teaching_that_keeps_all_is_two_members_on_their_own():
  """Batches are all rows, or peers would see other ones than they."""
  taught = train(**{"noise.name": "co_teaching"})
  alone = train()
  assert alone.history[0]["loss"][0] != alone.history[0]["loss"][1]
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
      taught.params, alone.params,
  )


def test_an_ensemble_turns_wrong_labels_round_and_resumes(tmp_path):
  """Killed while it judges, and once more while it learns."""
  config = config_of(**{
      "noise.name": "relabel", "relabel.flip": 0.25, "relabel.num_steps": 20,
      "test": 0.0, "relabel.members": 3,
  })
  run = lambda folder: reward_model.train(
      config, noisy_data(), workdir=folder, progress=False
  )
  first = run(tmp_path / "run")
  found = first.about.notes["Relabelled pairs"]
  assert found["turned round"][0] == pytest.approx(0.25, abs=0.01)
  assert found["wrong by gold, of those turned round"][0] > 0.7
  for lost in ("judges/checkpoints/step_00000020", "checkpoints/step_00000020"):
    copy = tmp_path / lost[0]
    shutil.copytree(tmp_path / "run", copy)
    shutil.rmtree(copy / "model")
    shutil.rmtree(copy / lost)
    if lost.startswith("judges"):
      (copy / "judged.jsonl").unlink()
      (copy / "metrics.jsonl").unlink()
      shutil.rmtree(copy / "checkpoints")
    again = run(copy)
    jax.tree.map(np.testing.assert_array_equal, again.params, first.params)
    assert again.about == first.about
    for name in ("judged.jsonl", "metrics.jsonl", "judges/metrics.jsonl"):
      whole = (tmp_path / "run" / name).read_bytes()
      assert (copy / name).read_bytes() == whole
