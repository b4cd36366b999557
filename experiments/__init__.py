"""Runnable experiments, one module per kind of training; papers are configs."""
