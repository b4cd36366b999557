"""Configs of `experiments.sample_answers`, whose answers an audit reads."""
