"""Token policies: sampling laws, log-probs without logits, decoding loops."""

from rewardjax.policies import decoding, laws, log_probs

__all__ = ["decoding", "laws", "log_probs"]
