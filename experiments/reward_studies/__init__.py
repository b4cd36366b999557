"""The studies of `experiments.reward_study`, one function each."""
