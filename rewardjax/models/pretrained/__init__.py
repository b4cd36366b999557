"""Real language models of the Llama and Qwen family, read and written.

    model, params = pretrained.load(pretrained.find("smollm2"))

GGUF files, safetensors files and Hugging Face folders become a `Transformer`
and its parameters; `export` writes them back as a Hugging Face folder.
"""

from rewardjax.models.pretrained.exporting import export
from rewardjax.models.pretrained.loading import Pretrained, find, load

__all__ = ["Pretrained", "export", "find", "load"]
