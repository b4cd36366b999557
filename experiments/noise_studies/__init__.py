"""The studies of `experiments.noise_study`, one function each."""
