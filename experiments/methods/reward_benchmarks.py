"""Rows of `docs/methods.md`: benchmarks of reward models, and probes."""

from experiments.methods.row import Method

_READER = "tests/data/test_benchmarks.py"
_TABLES = "tests/diagnostics/test_benchmarks.py"
_COMMAND = "tests/experiments/test_evaluate_rewards.py"
_JUDGES = "tests/data/test_benchmark_judging.py"


def _run(benchmark: str) -> str:
  return (
      f"Any model: experiments.evaluate_rewards --benchmark={benchmark}, see "
      "docs/evaluating_rewards.md."
  )


METHODS = (
    Method(
        slug="rewardmath",
        title="RewardMATH: one right solution against nine",
        paper=(
            "Evaluating Robustness of Reward Models for Mathematical Reasoning"
        ),
        functions=(
            "diagnostics.benchmarks.lists.rewardmath",
            "data.benchmarks.lists.rewardmath",
            "diagnostics.benchmarks.lists.rewardmath_pairs",
            "data.benchmarks.lists.rewardmath_pairs",
            "diagnostics.scoring.separated",
            "diagnostics.scoring.reciprocal_rank",
            "rewards.steps.aggregate_steps",
        ),
        tests=(_TABLES, _READER, "tests/diagnostics/test_scoring.py", _COMMAND),
        shown=(
            "A chosen solution that ties with two rejected ones has MRR 1 / 3 "
            "and accuracy 0, or 1 with ties; scores drawn at random have "
            "accuracy .1 and MRR .2929."
        ),
        differs=(
            f"{_run('rewardmath')} Solutions of chains are scored by --by_step "
            "with any of the eight aggregations. Judges compare pairs by "
            "--benchmark=rewardmath_pairs; a tie of votes is a comparison "
            "that was not won. The study's models are simulated."
        ),
    ),
    Method(
        slug="rewardbench2",
        title="RewardBench 2 and 1: best of four, and Ties",
        paper="RewardBench 2: Advancing Reward Model Evaluation",
        functions=(
            "diagnostics.benchmarks.lists.rewardbench2",
            "data.benchmarks.lists.rewardbench2",
            "diagnostics.sections.ties_score",
            "diagnostics.scoring.best_of_k_correct",
            "diagnostics.benchmarks.pairs.rewardbench",
            "data.benchmarks.judging.counted",
        ),
        tests=(
            _TABLES, _READER, "tests/diagnostics/test_sections.py", _JUDGES,
            _COMMAND,
        ),
        shown=(
            "Two prompts of Ties by hand score .650294; equal scores of four "
            "are worth a quarter; a spread of 0 divides nothing by nothing. "
            "Sections of the first version are means with the released "
            "weights."
        ),
        differs=(
            f"{_run('rewardbench2')} Ratings of a judge are scores: equal ones "
            "share the credit. A choice of four by --judge is worth a quarter "
            "where it cannot be read (--unread=shared). The best score of "
            "Ties is 1.01, as released. The study's models are simulated."
        ),
    ),
    Method(
        slug="m_rewardbench",
        title="M-RewardBench: one test in many languages",
        paper=(
            "M-RewardBench: Evaluating Reward Models in Multilingual Settings"
        ),
        functions=(
            "diagnostics.benchmarks.pairs.m_rewardbench",
            "data.benchmarks.pairs.m_rewardbench",
            "diagnostics.sections.section_scores",
            "diagnostics.agreement.cohen_kappa",
        ),
        tests=(_TABLES, _READER, "tests/diagnostics/test_agreement.py",
               _COMMAND),
        shown=(
            "Kappa of two lists by hand is .454545, of equal ones 1; a "
            "language equal to the reference has gap 0 and no inconsistency."
        ),
        differs=(
            f"{_run('m_rewardbench')} The public rows have no English: give "
            "RewardBench in the same schema beside them. Rows of the "
            "translation task, which belong to no section, are averaged over "
            "their sources. The study adds noise to a simulated model; "
            "rotations of features and real gaps are not measured."
        ),
    ),
    Method(
        slug="vl_rewardbench",
        title="VL-RewardBench: hard pairs about images, and votes",
        paper=(
            "VLRewardBench: A Challenging Benchmark for Vision-Language "
            "Generative Reward Models"
        ),
        functions=(
            "diagnostics.benchmarks.pairs.vl_rewardbench",
            "data.benchmarks.pairs.vl_rewardbench",
            "data.benchmarks.judging.as_scorer",
            "diagnostics.comparisons.vote_correct",
        ),
        tests=(_TABLES, _READER, _JUDGES,
               "tests/diagnostics/test_comparisons.py", _COMMAND),
        shown=(
            "Swapped responses and ranking leave the scores alone; votes of a "
            "judge right with .6 are right with .6, .648 and .7334 for 1, 3 "
            "and 9; a judge that always names the first is right by chance "
            "alone. What a judge is shown hangs on row and vote, not on "
            "batches or restarts."
        ),
        differs=(
            f"{_run('vl_rewardbench')} --judge and --votes ask a judge with "
            "the answers in random order; votes that cannot be read count "
            "against it, or their rows are dropped as released "
            "(--unread=dropped), and their share is told. The judges of the "
            "study read tokens, not images. Its first two worlds misled no "
            "judge below a half in every seed, on which the claim rests: the "
            "third is that of the study of REFORM."
        ),
    ),
    Method(
        slug="mm_rlhf",
        title="MM-RLHF: critiques, trust in pairs, and ACC+",
        paper=(
            "MM-RLHF: The Next Step Forward in Multimodal LLM Alignment"
        ),
        functions=(
            "recipes.critique.critique_loss",
            "reward_models.implicit.dynamic_beta",
            "reward_models.implicit.implicit_reward",
            "diagnostics.comparisons.acc_plus",
            "diagnostics.benchmarks.pairs.mm_rlhf",
            "data.benchmarks.pairs.mm_rlhf",
        ),
        tests=(
            "tests/recipes/test_critique.py",
            "tests/reward_models/test_implicit.py",
            "tests/diagnostics/test_comparisons.py",
            _TABLES, _READER, _COMMAND,
        ),
        shown=(
            "Beta by hand .1, .1197, .1432 for margins 0, 1, 4, bounded and "
            "never below its base; the optimum of the implicit reward is the "
            "tilted policy. Parts of the critique loss by hand; halves of a "
            "batch add up. ACC+ is at most ACC for groups of one size."
        ),
        differs=(
            f"{_run('mm_rlhf')} A generative judge is --judge. Negative "
            "margins are cut at 0 and label smoothing stands on the usual "
            "side, unlike the released code; w and k are not checked against "
            "it. Critiques in the study are clearer numbers, not texts."
        ),
    ),
    Method(
        slug="mrmbench",
        title="MRMBench: probes of preference dimensions",
        paper=(
            "Probing Preference Representations: A Multi-Dimensional "
            "Evaluation and Analysis Method for Reward Models"
        ),
        functions=(
            "diagnostics.probing.linear_probe",
            "diagnostics.probing.probe_score",
            "diagnostics.probing.class_centroids",
            "diagnostics.out_of_distribution.centroid_distance",
            "data.benchmarks.probes.mrmbench",
            "data.benchmarks.probes.mrmbench_files",
            "data.probe_tasks.rows",
        ),
        tests=(
            "tests/diagnostics/test_probing.py",
            "tests/diagnostics/test_out_of_distribution.py",
            "tests/data/test_benchmark_probes.py",
            "tests/data/test_probe_tasks.py",
            "tests/experiments/test_probe_reward_model.py",
        ),
        shown=(
            "One-hot features probe to 1, shuffled labels to 1 / K; naming "
            "the majority has a balanced accuracy of 1 / K; no gradient "
            "reaches the encoder; a centroid is at distance 0 of itself. "
            "experiments.probe_reward_model reads the published folders: a "
            "trained model is the same afterwards, and counts of bytes find "
            "which of our rows are long, not whose sentences are in order."
        ),
        differs=(
            "Inference-time probing is reconstructed: one centroid for each "
            "dimension. Balanced accuracy is told beside the benchmark's own, "
            "which naming the majority nearly reaches on some dimensions. "
            "In the study probes do not foretell best-of-n, and rather "
            "point the other way; its models are taught sums of attributes "
            "and have four features. Our bundled rows are made by a program: "
            "they try a probe out, and measure no model."
        ),
    ),
    Method(
        slug="ixc_reward",
        title="IXC-2.5-Reward: mean pooling, filters of lengths and rewards",
        paper=(
            "InternLM-XComposer2.5-Reward: A Simple Yet Effective Multi-Modal "
            "Reward Model"
        ),
        functions=(
            "models.pooling.mean",
            "noise.filters.not_much_longer",
            "noise.filters.above_quantile",
            "reward_models.pairwise.pairwise_logistic",
        ),
        tests=(
            "tests/models/test_pooling.py",
            "tests/noise/test_filters.py",
            "tests/reward_models/test_pairwise.py",
            _COMMAND,
        ),
        shown=(
            "A mean over tokens does not depend on their order or on padding. "
            "The filter drops chosen answers more than a ratio longer and "
            "keeps equal ones."
        ),
        differs=(
            f"{_run('vl_rewardbench')} The mean is over the tokens of the "
            "mask: choose the answer's, or all. The ratio is not given in the "
            "paper. In the study the filter of one side turns the liking for "
            "length round; dropping both sides is shown beside it."
        ),
    ),
)
