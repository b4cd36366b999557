import jax
import numpy as np
import pytest

from benchmarks import import_time, seeds


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
