"""Eight host devices, no implicit rank promotion, and one shared fixture."""

import gc
import os
import pathlib
import threading

# Before jax starts a backend.
os.environ["XLA_FLAGS"] = " ".join([
    os.environ.get("XLA_FLAGS", ""),
    "--xla_force_host_platform_device_count=8",
    # Tests compile for longer than they run.
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",  # they take twice as long to compile
    "--xla_cpu_parallel_codegen_split_count=1",  # the workers share the cores
])
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# A program is compiled once: for all workers, and for the runs after this one.
_PROGRAMS = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "programs"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_PROGRAMS))
# A smaller one is made again sooner than it is stored and found.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# What is imported by now stays, and tracing makes little that has to go.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)

# A context of its own costs every program 5 ms, a quarter of a small test,
# and is kept with it: a thread's programs share theirs here.
_thread = threading.local()
_make_context = getattr(mlir, "make_ir_context", None)


def _shared_context():
  if not hasattr(_thread, "context"):
    _thread.context = _make_context()
  return _thread.context


if _make_context is not None:  # private: another version may do without it
  mlir.make_ir_context = _shared_context


@pytest.fixture
def no_jaxtyping():
  """Turns the annotations off, so that our own message is seen."""
  before = jaxtyping.config.jaxtyping_disable
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", before)
