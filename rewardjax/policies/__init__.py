"""Token policies: sampling laws, log-probs without logits, decoding loops."""

from rewardjax.policies import constraints, decoding, laws, log_probs, turns

__all__ = ["constraints", "decoding", "laws", "log_probs", "turns"]
