"""Finding good sequences when answers are asked for, not learned from."""

from rewardjax.search import beam, tries

__all__ = ["beam", "tries"]
