"""Installs the `rewardjax` package; tool settings are in pyproject.toml."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "([^"]+)"', (HERE / "rewardjax/__init__.py").read_text()
).group(1)

CORE = [
    "absl-py>=2.1",
    "flax>=0.10.6",
    "jax>=0.8.2",  # the first with jax.lax.pcast
    "jaxtyping>=0.3.2",
    "ml-collections>=1.0.0",
    "numpy>=1.26",
    "optax>=0.2.4",
    "orbax-checkpoint>=0.11.20",
    "pyyaml>=5.4",
    "rich>=13.7",
    "scipy>=1.12",
    "tqdm>=4.66",
]
DATA = [
    "array-record>=0.7.2",
    "grain>=0.2.10",
    "importlib_resources>=6.1",  # tfds reads package files through it
    "pyarrow>=14.0",  # benchmarks in Parquet
    "tensorflow-datasets>=4.9.8",
]
JINJA = "jinja2>=3.1.6"
MODELS = [
    "gguf>=0.17",
    JINJA,
    "safetensors>=0.5",
    "tokenizers>=0.21",
]
VERIFIERS = ["math-verify>=0.9.0", "reasoning-gym>=0.1.25"]
PLOTS = [JINJA, "matplotlib>=3.8", "tensorboardX>=2.6.2"]
COLAB = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"]
TEST = [
    "beartype>=0.20",
    "chex>=0.1.90",
    "pytest>=8.2,<9.1",  # from there on pytest-xdist 3.8 forgets groups
    "pytest-xdist>=3.6",
    "ruff>=0.8",
]

EVERYTHING = DATA + MODELS + PLOTS + VERIFIERS + COLAB

setuptools.setup(
    name="rewardjax",
    version=VERSION,
    description=(
        "Pure-function reward models, policy-gradient estimators and "
        "verifier-noise corrections in JAX."
    ),
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_data={
        "rewardjax.data.benchmarks": [
            "samples/*.jsonl", "samples/mrmbench/*/*/*.json"
        ],
    },
    packages=setuptools.find_packages(include=["rewardjax", "rewardjax.*"]),
    install_requires=CORE,
    extras_require={
        "data": DATA,
        "models": MODELS,
        "plots": PLOTS,
        "verifiers": VERIFIERS,
        "colab": DATA + PLOTS + COLAB,
        "test": sorted({*EVERYTHING, *TEST}),
        "all": sorted({*EVERYTHING, *TEST}),
    },
)
