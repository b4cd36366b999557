import ast
import importlib.util
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    grpo_step,
    import_time,
    packing,
    peer,
    reward_models,
    scaling,
    scoring_memory,
    seeds,
    workloads,
)
from rewardjax.data.benchmarks import pairs
from rewardjax.models import incremental, transformer
from rewardjax.training import memory

# They share what is dear to make.
pytestmark = pytest.mark.xdist_group("benchmarks")

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "benchmarks" / "README.md").read_text()


@pytest.mark.parametrize("how", [seeds.loop, seeds.scan])
def test_vmapped_seeds_are_the_single_runs(how):
  toy, keys = seeds.make_toy(), jax.random.split(jax.random.key(1), 3)
  state, accuracy = how(seeds.vmapped(toy), keys, num_steps=30)()
  for i, key in enumerate(keys):
    alone, alone_accuracy = how(toy, key, num_steps=30)()
    np.testing.assert_array_equal(state.right[i], alone.right)
    np.testing.assert_allclose(state.logits[i], alone.logits, rtol=1e-5)
    np.testing.assert_allclose(accuracy[i], alone_accuracy, rtol=1e-6)


def test_the_toy_learns():
  keys = jax.random.split(jax.random.key(0), 4)
  run = seeds.scan(seeds.vmapped(seeds.make_toy()), keys, num_steps=200)
  _, accuracy = run()
  assert np.min(accuracy) > 0.9  # from 1/4


def test_the_tables_print(capsys, monkeypatch):
  monkeypatch.setattr(seeds, "measure", lambda how, repeats: (0.5, 1.0))
  seeds.main([])
  assert "| loop | 500.0 | 1000.0 | 2.0 | 4 |" in capsys.readouterr().out
  monkeypatch.setattr(import_time, "milliseconds", lambda module: 3.0)
  import_time.main(["--repeats", "1"])
  printed = capsys.readouterr().out
  assert "| rewardjax | 3.0 | 50 |" in printed
  assert "| rewardjax.core | 3.0 |  |" in printed


def test_large_files_are_the_same_rows_in_every_format(
    tmp_path, capsys, monkeypatch
):
  rows = []
  for name in scoring_memory.FORMATS:
    path = tmp_path / f"rows.{name}"
    scoring_memory.write(path, scoring_memory.make_rows(0.1, row_kilobytes=9))
    rows.append(list(pairs.rewardbench(path)))
  assert len(rows[0]) == 11 and rows[0] == rows[1] == rows[2]
  assert len({text for row in rows[0] for text in row.texts}) == 22
  monkeypatch.setattr(scoring_memory, "growth", lambda *args: (2000.0, 20.0))
  scoring_memory.main([])
  assert "| .parquet | 2000 | 20 |" in capsys.readouterr().out


# One GRPO step.


@pytest.fixture(scope="module")
def workload():
  return workloads.load("test", workloads.TINY)


def test_a_grpo_step_is_traced_once_and_needs_no_host(workload):
  """Pain 30: no retraces after warm-up, no transfers, whatever the draws."""
  found = grpo_step.measure(workload, repeats=3, size=8)
  assert found.retraces == 0
  assert found.transfers == 0
  assert sorted(found.seconds) == ["sampling", "scoring", "update"]


def test_what_needs_the_host_is_counted():
  assert grpo_step.refused(lambda: jnp.sin(np.ones(3, np.float32))) == 1
  placed = jax.device_put(np.ones(3, np.float32))
  assert grpo_step.refused(lambda: jax.jit(jnp.sin)(placed)) == 0
  with pytest.raises(ZeroDivisionError):
    grpo_step.refused(lambda: 1 / 0)

  def calls_back(x):
    jax.debug.callback(lambda x: None, x)
    shape = jax.ShapeDtypeStruct((), x.dtype)
    return jax.pure_callback(lambda x: x, shape, x)

  text = lambda f: jax.jit(f).lower(jnp.ones(())).as_text()
  assert grpo_step.host_calls(text(calls_back)) == 2
  assert grpo_step.host_calls(text(jnp.sin)) == 0


def test_the_step_prints(capsys):
  options = ["--microbatches=2", "--remat", "--dtype=bfloat16"]
  grpo_step.main(["--tiny", "--repeats=1", *options])
  printed = capsys.readouterr().out
  assert "| step (sampling + update) |" in printed
  assert "GiB at the peak" in printed
  assert "\n0 retraces after warm-up\n0 host transfers a step\n" in printed


def test_operations_are_those_of_the_compiled_products():
  """Against the compiler's count for a model without attention to speak of."""
  batch = workloads.TINY
  fields = workloads.MODELS["test"] | dict(
      width=64, num_layers=2, mlp_width=512
  )
  model = transformer.Transformer(**fields)
  one = jnp.zeros((1, 2), jnp.int32)
  params = jax.jit(model.init)(jax.random.key(0), one, one == 0)["params"]
  kernels = [x.size for x in jax.tree.leaves(params["layers_0"]) if x.ndim == 2]
  assert workloads.matrix_entries(model) == model.num_layers * sum(kernels)
  parts = grpo_step.make_parts(workloads.Workload(model, params, batch))
  data = jax.eval_shape(parts.sample, parts.state, jax.random.key(0))
  compiled = parts.update.lower(parts.state, data, jax.random.key(0)).compile()
  _, update = workloads.matmul_flops(model, batch)
  counted = compiled.cost_analysis()["flops"]
  assert update < counted < 1.35 * update  # attention, norms, Adam


def test_a_shared_prompt_is_counted_once():
  model = scaling.make_model("tiny")
  batch = workloads.TINY
  more = batch._replace(prompt_length=batch.prompt_length + 1)
  one = 2 * workloads.matrix_entries(model) * batch.num_prompts
  before = workloads.matmul_flops(model, batch)
  after = workloads.matmul_flops(model, more)
  assert [y - x for x, y in zip(before, after)] == [one, 3 * one]


def test_the_large_model_has_the_size_of_its_name():
  model = transformer.Transformer(**workloads.MODELS["qwen3-1.7b"])
  assert memory.num_parameters(model) == pytest.approx(1.72e9, rel=0.01)


# In turns with another library: a peer of a few lines stands in.

_PEER = """
import json, sys
spec = json.loads(sys.argv[1])
print(json.dumps(dict(name="Peer 1", parameters={parameters}, spec=spec)))
sys.stdout.flush()
for line in sys.stdin:
  n = int(line)
  if {fails}:
    sys.exit("the peer has lost its way")
  print(json.dumps(dict(total=[3.0] * n, sampling=[1.0] * n)), flush=True)
"""


@pytest.fixture
def fake(tmp_path):
  """Writes a peer's script."""

  def write(parameters=0, fails=False):
    path = tmp_path / "peer.py"
    path.write_text(_PEER.format(parameters=parameters, fails=fails))
    return path

  return write


def test_a_peer_runs_what_it_is_told(fake):
  with peer.Peer(sys.executable, dict(threads=2, x=None), fake()) as other:
    assert other.about["spec"] == dict(threads=2, x=None)
    assert other.run(2) == peer.Times([3.0, 3.0], [1.0, 1.0])
    assert other.run(1).median == dict(step=3.0, sampling=1.0, rest=2.0)
  assert other._process.returncode == 0


def test_a_peer_that_fails_says_why(fake):
  with peer.Peer(sys.executable, dict(threads=1), fake(fails=True)) as other:
    with pytest.raises(SystemExit, match="code 1:\nthe peer has lost its way"):
      other.run(1)
  with pytest.raises(SystemExit, match="python -m venv .peer"):
    peer.Peer(str(ROOT / "no-such-python"), dict(threads=1))
  with pytest.raises(SystemExit, match="No module named"):
    script = fake()
    script.write_text("import a_package_that_is_not_there")
    peer.Peer(sys.executable, dict(threads=1), script)


def test_turns_alternate_and_leave_warm_up_out():
  order = []

  def one(name, time):
    def run(n):
      order.append((name, n))
      return peer.Times([time * n] * n, [0.5 * time * n] * n)

    return run

  rounds = peer.in_turns(
      one("we", 1.0), one("they", 3.0), rounds=2, steps=2, warm_up=1
  )
  warm, turn = [("we", 1), ("they", 1)], [("we", 2), ("they", 2)]
  assert order == warm + turn + turn
  assert [r.ratio("step") for r in rounds] == [3.0, 3.0]
  text = peer.report(dict(name="TRL"), rounds, 64, (2.0, 4.0))
  assert "| rewardjax | 2.000 | 1.000 | 1.000 | 32 |" in text
  assert "| TRL | 6.000 | 3.000 | 3.000 | 11 |" in text
  assert "3.00 times as fast (3.00 to 3.00 over 2 turns)" in text
  assert "fastest steps: 2.000 s and 6.000 s, 3.00 times as fast" in text
  assert "at least 2 (met), the aim is 4" in text
  assert "MISSED" in peer.report(dict(name="TRL"), rounds, 64, (3.5, 4.0))


def test_the_step_is_compared(workload, fake, monkeypatch, capsys):
  size = grpo_step.num_parameters(workload.params)
  path, real = fake(size), peer.Peer
  monkeypatch.setattr(
      peer, "Peer", lambda python, spec: real(python, spec, path)
  )
  command = ["--tiny", "--peer=trl", "--rounds=2", "--steps=1"]
  command += ["--peer_options", '{"x": 1}', "--peer_python", sys.executable]
  grpo_step.main(command)
  printed = capsys.readouterr().out
  assert "times as fast" in printed and "target" not in printed
  # What the real peer reads is what it is given.
  given = ast.literal_eval(printed.splitlines()[0])["spec"]
  assert given["options"] == {"x": 1}
  assert read_by_peer("spec") <= set(given)
  assert read_by_peer("fields") <= set(given["fields"])
  fake(size + 1)
  with pytest.raises(SystemExit, match=f"trains {size + 1} parameters, we"):
    grpo_step.main(command)


def read_by_peer(name: str) -> set[str]:
  return set(re.findall(rf'\b{name}\["(\w+)"\]', peer.SCRIPT.read_text()))


def test_the_command_says_how_to_make_the_peer(monkeypatch):
  monkeypatch.delenv(peer.VARIABLE, raising=False)
  with pytest.raises(SystemExit, match="pip install torch trl transformers"):
    grpo_step.main(["--tiny", "--peer=trl"])


def test_the_peer_stands_alone():
  modules = set()
  for node in ast.walk(ast.parse(peer.SCRIPT.read_text())):
    if isinstance(node, ast.Import):
      modules |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      modules.add(node.module)
  modules -= set(sys.stdlib_module_names)
  # The last two come with the others.
  expected = {"torch", "transformers", "trl", "datasets", "tokenizers"}
  assert modules == expected


# Answers of unequal length.


@pytest.fixture(scope="module")
def ragged():
  """8 prompts with 4 answers of 2 to 12 tokens."""
  batch = workloads.Batch(8, 4, 3, 12)
  return workloads.load("test", batch), packing.draw_lengths(batch)


@pytest.mark.parametrize("halvings", [0, 2])
def test_rows_decoded_are_counted_by_the_rule_of_the_sampler(
    ragged, halvings, monkeypatch
):
  load, lengths = ragged
  seen = []
  decoder = incremental.decoder

  def counted(model):
    found = decoder(model)

    def step(params, tokens, cache):
      jax.debug.callback(lambda x: seen.append(len(x)), tokens)
      return found.step(params, tokens, cache)

    return found._replace(step=step)

  monkeypatch.setattr(incremental, "decoder", counted)
  run = packing.make_sample(load, lengths, halvings)
  rollouts = run(load.params, jax.random.key(0))
  jax.effects_barrier()
  assert sum(seen) == packing.rows_decoded(lengths, halvings)
  found = np.sum(rollouts.mask, axis=-1)
  np.testing.assert_array_equal(found, lengths)
  assert not np.any(rollouts.truncated)


def test_packed_updates_are_the_padded_ones(ragged):
  load, lengths = ragged
  sample = packing.make_sample(load, lengths, 0)
  rollouts = sample(load.params, jax.random.key(0))
  lanes = packing.lanes_needed(lengths, load.batch.new_tokens)
  assert 0 < lanes < load.batch.group_size
  padded, packed = (
      packing.make_gradient(load, rows)(load.params, rollouts)
      for rows in (0, lanes)
  )
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, packed, padded)


def test_lanes_are_the_fewest_that_fit():
  lengths = np.array([[4, 4, 4, 2], [2, 2, 2, 2]], np.int32)
  assert packing.lanes_needed(lengths, 6) == 3  # 14 tokens, but 4 + 4 > 6
  assert packing.lanes_needed(lengths, 8) == 2
  batch = workloads.Batch(2, 4, 3, 6)
  assert packing.tokens_computed(batch, 0) == 2 * (3 + 4 * 5)
  assert packing.tokens_computed(batch, 3) == 2 * (3 + 3 * 6)


def test_rows_by_hand():
  lengths = np.array([5, 2, 2, 1])
  assert packing.rows_decoded(lengths, 0) == 4 * 4
  # One step of four leaves one running; half of four is two, which decode
  # the other three tokens, or, halved again, one does.
  assert packing.rows_decoded(lengths, 1) == 4 + 3 * 2
  assert packing.rows_decoded(lengths, 2) == 4 + 3 * 1


def test_the_table_of_packing_prints(capsys):
  packing.main(["--tiny", "--repeats=1"])
  printed = capsys.readouterr().out
  assert "| halvings |" in printed and "| padded |" in printed


# The page that lists them.


def test_every_budget_names_what_exists():
  for module in set(re.findall(r"python -m (benchmarks[\w.]*)", README)):
    assert importlib.util.find_spec(module), module
  named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", README)
  assert named
  for path, test in named:
    text = (ROOT / path).read_text()
    assert f"def {test}(" in text if test else text, (path, test)


def test_every_benchmark_is_listed():
  for path in (ROOT / "benchmarks").glob("*.py"):
    text = path.read_text()
    if 'if __name__ == "__main__":\n  main()' in text:
      assert f"python -m benchmarks.{path.stem}" in README, path.stem


# Reward models.


def test_reward_models_print_their_ratios(capsys, monkeypatch):
  monkeypatch.setattr(reward_models, "ratio", lambda *x, **y: (0.5, 0.25, 2.0))
  reward_models.main(["--tiny", "--pairs=4", "--length=16"])
  printed = capsys.readouterr().out
  assert "| heads of 64 on features [32] | 0.50000 | 0.25000 |" in printed
  lengths = reward_models.pair_lengths(4, 16)
  assert f"{lengths.sum()} real tokens of 4 pairs" in printed
  assert "places: 128 padded" in printed
  assert "0.5000 s padded, 0.2500 s packed: 2.00 times" in printed
  with pytest.raises(SystemExit, match="an environment of its own"):
    monkeypatch.delenv(peer.VARIABLE, raising=False)
    reward_models.main(["--peer=trl"])


def test_a_step_of_all_members_is_timed():
  model, rows = reward_models.small_heads()
  run = reward_models.runner(reward_models.make_load(model, rows, members=2))
  times = run(3)
  assert len(times.total) == 3 and min(times.total) > 0
