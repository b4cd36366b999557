"""Masked sums, reducers, probabilities, checks, keys: no method lives here."""
