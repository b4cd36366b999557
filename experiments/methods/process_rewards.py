"""Rows of `docs/methods.md`: rewards of steps, of segments, of beginnings."""

from experiments.methods.row import Method

METHODS = (
    Method(
        slug="multi_rm",
        title="Outcome and process rewards under one protocol",
        paper="Rethinking Reward Models for Multi-Domain Test-Time Scaling",
        functions=(
            "reward_models.process.prm_loss",
            "reward_models.process.orm_loss",
            "reward_models.process.mask_after_first_error",
            "rewards.steps.aggregate_steps",
            "search.curves.ordered_selections",
            "search.curves.selection_curves",
            "search.voting.weighted_vote",
            "data.benchmarks.answers.multi_rm",
            "data.benchmarks.answers.multi_rm_steps",
            "data.benchmarks.answers.multi_rm_rewards",
        ),
        tests=(
            "tests/reward_models/test_process_labels.py",
            "tests/rewards/test_steps.py",
            "tests/search/test_curves.py",
            "tests/search/test_voting.py",
            "tests/data/test_benchmark_answers.py",
            "tests/experiments/test_evaluate_chains.py",
        ),
        shown=(
            "With an error of 0.05 a step a right chain scores 0.95^S. Steps "
            "behind the first error get no gradient. Curves of best-of-n and "
            "votes equal the mean over all orders, by listing them; equal "
            "rewards make a weighted vote a majority. The tables of its test "
            "rows, experiments.evaluate_rewards --benchmark=multi_rm, equal "
            "the released protocol in plain Python, draw by draw."
        ),
        differs=(
            "The product of step scores loses with length, the least of them "
            "hardly does: what degrades is the aggregation. Generative "
            "models are any scorer that gives P(yes); none is trained here. "
            "Answers that could not be read are one class in votes, where the "
            "released code gives them none. "
            "Fourteen domains and eight-billion models need full scale."
        ),
    ),
    Method(
        slug="scan_prm",
        title="SCAN: step labels from few completions, denoised",
        paper=(
            "SCAN: Self-Denoising Monte Carlo Annotation for Robust Process "
            "Reward Learning"
        ),
        functions=(
            "noise.steps.denoise_step_labels",
            "noise.steps.balanced",
            "search.monte_carlo.mc_step_values",
            "search.monte_carlo.values_until_zero",
            "reward_models.process.prm_loss",
            "diagnostics.sections.process_bench_f1",
        ),
        tests=(
            "tests/noise/test_steps.py",
            "tests/search/test_monte_carlo.py",
            "tests/diagnostics/test_sections.py",
        ),
        shown=(
            "Values (.9, .75, .5, .25, 0) at confidence .8 become targets (1, "
            "1, .625, .3125, 0); chains without a value of 0 are dropped. "
            "Values are unbiased by enumeration, and stop at the first 0 with "
            "the draws they would have had."
        ),
        differs=(
            "In the study soft targets on all steps are as good as on the two "
            "before the error. At its best threshold every set of labels "
            "makes an equally good judge: a linear judge's threshold only "
            "shifts. The average on ProcessBench needs a 7B model; its score "
            "of any model: experiments.evaluate_rewards "
            "--benchmark=process_bench."
        ),
    ),
    Method(
        slug="grounded_prm",
        title="GroundedPRM: a tree of steps, a tool that checks each",
        paper=(
            "GroundedPRM: Tree-Guided and Fidelity-Aware Process Reward "
            "Modeling"
        ),
        functions=(
            "search.mcts.mcts",
            "search.mcts.uct",
            "search.mcts.extract_paths",
            "search.step_labels.hybrid_rollout_value",
            "search.step_labels.path_labels",
        ),
        tests=("tests/search/test_mcts.py",),
        shown=(
            "The value of a rollout by hand, its bounds, and its way up the "
            "tree; without exploration the walk is greedy; with perfect "
            "checks on a full tree the signs of the values are the truth."
        ),
        differs=(
            "The released search draws children at random and adds values "
            "up; ours follows the text with their mean. In the study labels "
            "of tool and value are right most often, but on chains most of "
            "whose steps are right: the judges they make are no better than "
            "those of the tool, at their best threshold too."
        ),
    ),
    Method(
        slug="hrm",
        title="HRM: steps judged alone and with the step before",
        paper="Towards Hierarchical Multi-Step Reward Models",
        functions=(
            "data.steps.hierarchical_examples",
            "search.compression.node_compression",
            "search.compression.merged_texts",
            "search.monte_carlo.tree_mc_scores",
            "search.step_beam.step_beam_search",
        ),
        tests=(
            "tests/data/test_steps.py",
            "tests/search/test_monte_carlo.py",
            "tests/search/test_step_beam.py",
        ),
        shown=(
            "S steps give S and then S - 1 examples, the pair with the label "
            "of the later step. Compression keeps every leaf and its text and "
            "changes the scores of the nodes that lost a child alone."
        ),
        differs=(
            "The study builds in what the paper says of texts: some wrong "
            "steps look right alone and do not follow from the one before. "
            "There pairs hold what steps alone lose as candidates grow, and "
            "begin to fall later themselves. Cells of depth and score are not "
            "balanced. PRM800K needs full scale."
        ),
    ),
    Method(
        slug="reform",
        title="REFORM: failures that a reward model finds itself",
        paper=(
            "Reward Models Can Improve Themselves: Reward-Guided Adversarial "
            "Failure Mode Discovery for Robust Reward Modeling"
        ),
        functions=(
            "search.guided.reward_guided_decode",
            "search.guided.guided_logits",
            "reward_models.pairwise.pairwise_logistic",
        ),
        tests=("tests/search/test_guided.py",),
        shown=(
            "One candidate is greedy decoding, strength 0 the truncated base, "
            "a large strength the extreme reward; over all texts of a small "
            "vocabulary the law equals its enumeration."
        ),
        differs=(
            "The released mixing is a softmax of probabilities, nearly flat; "
            "both are here and in the study, where the tilt finds far more "
            "failures. Selection and augmentation are reconstructed. A text "
            "counts only if its class, here its gold, is kept."
        ),
    ),
    Method(
        slug="fgaif",
        title="FGAIF: rewards of kinds of errors, segment by segment",
        paper=(
            "FGAIF: Aligning Large Vision-Language Models with Fine-grained AI "
            "Feedback"
        ),
        functions=(
            "rewards.steps.segment_values",
            "advantages.placement.segment_to_token_rewards",
            "data.steps.split_sentences",
            "data.steps.last_tokens",
        ),
        tests=(
            "tests/rewards/test_steps.py",
            "tests/advantages/test_placement.py",
            "tests/data/test_steps.py",
        ),
        shown=(
            "Two kinds and three segments by hand; undiscounted, the sum is "
            "that of one reward at the end; masked segments add nothing, "
            "segments that end at one token add up."
        ),
        differs=(
            "Labels and weights are reconstructed. The judge of the study is "
            "exact: no classifier of segments is trained, so three against "
            "one on rare kinds is not measured. Its gradients vary less with "
            "rewards of segments, but gold does not rise faster: at 64 texts "
            "a step noise is not what limits it. Its policy gradient is "
            "REINFORCE; PPO takes the same token rewards."
        ),
    ),
)
