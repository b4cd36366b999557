"""Configs of `experiments.reward_study`."""
