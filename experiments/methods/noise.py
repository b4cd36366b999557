"""Rows of `docs/methods.md`: papers on noise that is not a verifier's."""

from experiments.methods.row import Method

METHODS = (
    Method(
        slug="dp_sequential",
        title="Randomised actions of agents that learn from each other",
        paper="Differentially Private Sequential Learning",
        functions=(
            "noise.privacy.smooth_randomized_response",
            "noise.privacy.randomized_response",
            "noise.privacy.smooth_response_rates",
            "noise.privacy.action_log_probability",
            "noise.privacy.update_belief",
            "noise.privacy.correct_cascade_probability",
        ),
        tests=(
            "tests/noise/test_privacy.py",
            "tests/experiments/test_studies_learning.py",
        ),
        shown=(
            "The smooth response is a threshold under Laplace noise and loses "
            "at most epsilon per unit of the signal. Along correct actions up "
            "to 100,000 agents, belief grows by 2 / epsilon per log n, and "
            "without noise like the root of log n; simulated herds are right "
            "as often as the closed form says."
        ),
        differs=(
            "The flip law is recalled; its equivalences are proved here. In "
            "the study drawn signals teach a crowd faster under smooth noise "
            "than under none, and slower under constant noise."
        ),
    ),
    Method(
        slug="tacred_noise",
        title="Mislabelled examples, found by their neighbours",
        paper=(
            "Noise in Relation Classification Dataset TACRED: "
            "Characterization and Reduction"
        ),
        functions=(
            "noise.neighbors.intrinsic",
            "noise.neighbors.extrinsic",
            "noise.neighbors.knn_label_noise",
            "noise.neighbors.eliminate",
            "noise.neighbors.reannotate",
            "core.statistics.micro_f1",
        ),
        tests=("tests/noise/test_neighbors.py",),
        shown=(
            "Neighbours are those of a full sort, never the row itself; clean "
            "separated classes raise no suspicion; hidden positives are found "
            "and named."
        ),
        differs=(
            "The thresholds are ours. Embeddings and labels are the user's; "
            "TACRED itself is not included."
        ),
    ),
)
