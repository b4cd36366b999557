"""Configs of `experiments.noise_study`."""
