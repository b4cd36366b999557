"""The memory formula beside real parameters and a compiled update."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import programs, scaling
from rewardjax.models import lora
from rewardjax.training import memory
from rewardjax.training import mesh as meshes

# They share the compiled updates.
pytestmark = pytest.mark.xdist_group("memory")


@pytest.mark.parametrize("name", scaling.MODELS)
def test_parameters_are_counted_exactly(name):
  model = scaling.make_model(name).clone(qkv_bias=name == "tiny")
  params, _ = scaling.shapes_of(model, memory.Batch())
  assert memory.num_parameters(model) == lora.count(params)
  adapt = lambda x: lora.init_lora(jax.random.key(0), x, rank=4)
  adapters = jax.eval_shape(adapt, params)
  assert memory.adapter_parameters(model, 4) == lora.count(adapters)


def test_sizes_of_public_models():
  count = lambda name: memory.num_parameters(scaling.make_model(name))
  # As their authors say: 134,515,008 and 8,030,261,248.
  assert count("smollm2") == 134_515_008
  assert count("llama-8b") == 8_030_261_248
  model = scaling.make_model("llama-8b")
  assert memory.cache_bytes_per_token(model) == 131_072  # 128 KiB


SIZES = {"whole": (1, 1, 1), "split": (2, 2, 2)}


@pytest.fixture(scope="module", params=SIZES)
def compiled(request):
  sizes = SIZES[request.param]
  mesh = meshes.make_mesh(*sizes, devices=jax.devices()[: np.prod(sizes)])
  model = scaling.make_model("tiny")
  return scaling.compile_update(model, memory.Batch(8, 4, 32, 32), mesh)


def test_the_formula_is_near_what_the_compiler_says(compiled):
  need, held = compiled.estimate, compiled.compiled.memory_analysis()
  # Small leaves stay whole; the batch itself is not counted.
  assert need.arguments == pytest.approx(
      held.argument_size_in_bytes, rel=0.05
  )
  # Temporaries depend on the compiler: the order of magnitude.
  assert 0.3 < need.temporaries / held.temp_size_in_bytes < 3


def test_a_report_tells_both(compiled):
  sent, held = scaling.report("mesh", compiled)
  alone = compiled.compiled.input_shardings[0][2][0].tokens.num_devices == 1
  assert sent.startswith("| mesh | ") and ("none" in sent) == alone
  assert held.count("|") == 9


def test_the_command_prints_one_row_a_mesh(compiled, monkeypatch, capsys):
  monkeypatch.setattr(scaling, "compile_update", lambda *a, **k: compiled)
  scaling.main(["--tiny"])
  printed = capsys.readouterr().out
  assert printed.count("| 1 x 1 x 1 |") == printed.count("| 2 x 2 x 2 |") == 2
  scaling.main(["--plan"])
  assert capsys.readouterr().out == scaling.plan() + "\n"


def test_more_devices_need_less_of_what_is_split():
  model = scaling.make_model("llama-8b", dtype=jnp.bfloat16)
  need = lambda **sizes: memory.estimate(
      model, memory.Batch(64), memory.Layout(**sizes)
  )
  one = need()
  # 4 + 8 bytes a parameter stay, 2 + 2 come and go.
  count = memory.num_parameters(model)
  assert one.arguments == 12 * count
  assert one.gradients + one.copies == 4 * count
  assert need(fsdp=8).arguments == one.arguments / 8
  assert need(data=8).arguments == one.arguments
  assert need(data=8).activations == one.activations / 8
  assert need(tensor=8).cache == one.cache / 8
  assert need(tensor=16).cache == one.cache  # 8 heads of keys: whole


def test_options_of_the_estimate():
  model = scaling.make_model("tiny")
  sizes = memory.Batch(num_microbatches=4), memory.Layout()
  need = lambda **options: memory.estimate(model, *sizes, **options)
  assert need(remat=False).activations > need().activations
  assert need(lora_rank=2).moments < need().moments / 4
  assert need(compute_bytes=4).copies == 0
  with pytest.raises(ValueError, match="estimate: fsdp must be in"):
    memory.estimate(model, memory.Batch(), memory.Layout(fsdp=0))


HLO = """\
HloModule jit_step

%cond (p: (s32[], f32[4])) -> pred[] {
  %c = s32[]{:T(128)} constant(30)
  ROOT %lt = pred[] compare(%i, %c), direction=LT
}

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %g = f32[8,4]{1,0} all-gather(%x), dimensions={0}
  %inner = (s32[]) while(%t), condition=%cond, body=%deep, \
backend_config={"known_trip_count":{"n":"5"}}
}

%deep (p: (s32[])) -> (s32[]) {
  %r = (f32[2]{0}, bf16[3]{0}) all-reduce(%a, %b), to_apply=%add
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%t), condition=%cond, body=%body
  %s = (bf16[4]{0}, bf16[32]{0}) all-gather-start(%a), dimensions={0}
  %d = bf16[32]{0} all-gather-done(%s)
}
"""


def test_collectives_are_counted_through_loops():
  """By hand: 30 turns of a loop that holds one of 5."""
  found = programs.traffic(HLO)
  assert found == {
      "all-reduce": programs.Traffic(1, 150, 150 * (8 + 6)),
      "all-gather": programs.Traffic(2, 31, 30 * 128 + 64),
  }
  looped = {x.bytes: x.looped for x in programs.collectives(HLO)}
  assert looped == {14: True, 128: True, 64: False}


def test_the_plan_fits_its_machines():
  rows = scaling.plan().splitlines()[2:]
  assert len(rows) == len(scaling.PLANS)
  for row in rows:
    total, room = row.strip("| ").split(" | ")[-2:]
    assert float(total) < 0.8 * float(room)


def test_the_plan_in_the_docs_is_this_one():
  page = pathlib.Path(__file__).parents[2] / "docs" / "scaling.md"
  assert f"<!-- plan -->\n{scaling.plan()}\n<!--" in page.read_text()
