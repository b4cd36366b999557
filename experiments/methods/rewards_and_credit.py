"""Rows of `docs/methods.md`: papers whose reward is the method."""

from experiments.methods.row import Method

_STEP_TESTS = "tests/recipes/test_step_recipes.py"
_EQUAL = (
    "The recipe equals the formula in plain NumPy loops, loss and gradient; "
    "masked and unknown entries are never read."
)

METHODS = (
    Method(
        slug="likelihood_rewards",
        title="Likelihood of a reference answer as reward",
        paper="Likelihood-Based Reward Designs for General LLM Reasoning",
        functions=(
            "recipes.likelihood.likelihood",
            "recipes.likelihood.likelihood_credit",
            "rewards.likelihood.answer_likelihood",
            "rewards.likelihood.jensen_bound",
        ),
        tests=(
            "tests/rewards/test_likelihood.py",
            "tests/recipes/test_likelihood.py",
            _STEP_TESTS,
        ),
        shown=(
            "For all five kinds score term and direct term together are the "
            "exact gradient of the expected likelihood, by listing all "
            "reasonings; without the direct term the answers learn nothing. "
            "The multi-sample bound grows with the group towards log E[p]."
        ),
        differs=(
            "The direct term is never rescaled when advantages are "
            "standardised. The multi-sample bound (JEPO) is a function, not a "
            "recipe."
        ),
    ),
    Method(
        slug="rlpr",
        title="RLPR: debiased mean probability",
        paper=(
            "RLPR: Extrapolating RLVR to General Domains without Verifiers, "
            "2025"
        ),
        functions=(
            "recipes.likelihood.rlpr",
            "recipes.likelihood.rlpr_credit",
            "recipes.likelihood.rlpr_reward",
            "rewards.likelihood.debiased",
            "advantages.running.update_spread",
            "advantages.running.wide_groups",
        ),
        tests=(
            "tests/rewards/test_likelihood.py",
            "tests/recipes/test_likelihood.py",
            "tests/advantages/test_running.py",
            _STEP_TESTS,
        ),
        shown=(
            f"{_EQUAL} One bad token costs a mean probability at most its "
            "share of the answer."
        ),
        differs=(
            "The first update of the running spread is kept whole instead of "
            "being averaged with a start value."
        ),
    ),
    Method(
        slug="reward_refinement",
        title="Clip and Delta: step scores that repetition cannot collect",
        paper=(
            "Gao et al., On Designing Effective RL Reward at Training Time "
            "for LLM Reasoning, 2024"
        ),
        functions=(
            "recipes.process.reward_refinement",
            "recipes.process.refined_credit",
            "shaping.transforms.clip_steps",
            "shaping.transforms.delta_steps",
            "advantages.placement.step_end",
        ),
        tests=("tests/shaping/test_transforms.py", _STEP_TESTS),
        shown=(
            f"{_EQUAL} Inserted steps change neither sum; the return from a "
            "step on is its score."
        ),
        differs=(
            "The convention that the last step is left to the outcome was not "
            "checked against released code."
        ),
    ),
    Method(
        slug="gated_reward_accumulation",
        title="G-RA: step rewards behind the outcome",
        paper=(
            "Stabilizing Long-term Multi-turn Reinforcement Learning with "
            "Gated Rewards"
        ),
        functions=(
            "recipes.process.gated_accumulation",
            "recipes.process.gated_reward",
            "shaping.transforms.gate",
            "shaping.transforms.gate_steps",
            "shaping.transforms.gate_levels",
        ),
        tests=("tests/shaping/test_transforms.py", _STEP_TESTS),
        shown=(
            f"{_EQUAL} A threshold of minus infinity is direct accumulation, "
            "of infinity the outcome alone; equality opens the gate."
        ),
        differs=(
            "Negative step rewards are gated as well. The paper's reward "
            "values are reconstructed."
        ),
    ),
    Method(
        slug="ppr_renorm",
        title="PPR: step scores tied to the outcome",
        paper=(
            "Hybrid Reward Normalization for Process-supervised "
            "Non-verifiable Agentic Tasks"
        ),
        functions=(
            "recipes.process.ppr",
            "recipes.process.ppr_credit",
            "shaping.renorm.anchored_steps",
            "shaping.renorm.centered_steps",
            "shaping.renorm.standardized_steps",
        ),
        tests=("tests/shaping/test_renorm.py", _STEP_TESTS),
        shown=(
            f"{_EQUAL} Anchored rewards have the sign of the outcome; centred "
            "ones sum to it."
        ),
        differs=(
            "Which of the three normalisations is the paper's own is "
            "uncertain. Step scores come in as an array: no principle-based "
            "judge is trained, the study's scores are a table. There the "
            "standardised mode follows the judge and loses the outcome."
        ),
    ),
    Method(
        slug="sweet_spot_learning",
        title="SSL: tiers of a graded score",
        paper="SSL: Sweet Spot Learning",
        functions=(
            "shaping.transforms.quantize",
            "shaping.transforms.gaussian_proximity",
            "shaping.transforms.progress_tiers",
            "shaping.transforms.tier",
        ),
        tests=("tests/shaping/test_transforms.py",),
        shown=(
            "Tiers round up and keep the order; one tier is a pass, many are "
            "the score. Quarters of a count are exact integers."
        ),
        differs="Number and edges of the tiers are reconstructed.",
    ),
    Method(
        slug="tool_rl",
        title="ToolRL: graded rewards of tool calls",
        paper="ToolRL: Reward is All Tool Learning Needs, 2025",
        functions=(
            "rewards.verifiers.tool_calls.tool_calls",
            "rewards.verifiers.tool_calls.call_score",
            "rewards.verifiers.tool_calls.format_score",
            "rewards.verifiers.tool_calls.multiset_jaccard",
            "rewards.verifiers.tool_calls.gradual_scales",
        ),
        tests=("tests/rewards/test_tool_calls.py",),
        shown=(
            "The scores of the released reward on its cases, from -3 to 3; "
            "the order of calls does not matter and a call is used once."
        ),
        differs=(
            "Calls are matched so that the sum is largest, not greedily in "
            "their order, which depends on it; JSON types are kept apart "
            "(true is not 1). The study trains a model of one hidden layer "
            "on calls of one tool and at most two parameters. There graded "
            "rewards are slower, the more so the weaker the start, and from "
            "almost nothing no grain of reward leads to whole calls. Why is "
            "not examined. Tools with so many parameters that exact calls "
            "are rare would need a pretrained model."
        ),
    ),
    Method(
        slug="rewardmap",
        title="RewardMap: partial credit for routes",
        paper=(
            "RewardMap: Tackling Sparse Rewards in Fine-grained Visual "
            "Reasoning via Multi-Stage Reinforcement Learning, 2025"
        ),
        functions=(
            "rewards.routes.routes",
            "rewards.routes.route_reward",
            "rewards.routes.route_detail",
            "rewards.routes.difficulty_weight",
            "data.transit.make_map",
            "data.transit.best_route",
            "data.transit.raster",
            "data.curricula.stage_at",
        ),
        tests=("tests/rewards/test_routes.py", "tests/data/test_transit.py"),
        shown=(
            "Released scores of shortest routes with 0, 1 and 2 transfers; "
            "generated routes are right and have the fewest legs, by trying "
            "all paths."
        ),
        differs=(
            "The released code takes 5 points off every shortest route (off "
            "by one); legacy=True does as well. The weight of a question is "
            "the same for its whole group: advantages that are standardised "
            "in the group do not see it. The study learns from scratch on one "
            "map without a picture; its answers can always be read. Parts "
            "of a route help there, and stages cost: every arm is certain of "
            "its answers after some 150 steps, so that stages leave nothing "
            "to explore with. A lower learning rate or an entropy bonus is "
            "not tried; at half the steps and batches, any tokens allowed, "
            "no arm learned anything. Stages that carry over would need a "
            "pretrained model and many maps."
        ),
    ),
    Method(
        slug="co_reward",
        title="Co-Reward: the majority of the other wording",
        paper=(
            "Co-Reward: Self-supervised Reinforcement Learning for Large "
            "Language Model Reasoning via Contrastive Agreement, 2025"
        ),
        functions=(
            "recipes.agreement.co_reward",
            "recipes.agreement.twin_reward",
            "recipes.agreement.majority_reward",
            "rewards.agreement.twin_matches",
            "search.voting.majority_vote",
        ),
        tests=(
            "tests/rewards/test_agreement.py",
            "tests/search/test_voting.py",
            _STEP_TESTS,
        ),
        shown=(
            f"{_EQUAL} Answers that cannot be read neither vote nor match; "
            "ties go to the lowest id; equal wordings are their own majority."
        ),
        differs="Wordings come in pairs; no model rewrites the prompts.",
    ),
    Method(
        slug="oprl",
        title="OPRL (iStar): implicit step rewards, learned on line",
        paper="Online Process Reward Learning for Agentic RL",
        functions=(
            "recipes.two_level.oprl",
            "recipes.two_level.oprl_credit",
            "recipes.two_level.oprl_reward_loss",
            "rewards.likelihood.implicit_step_rewards",
            "reward_models.process.trajectory_preference_loss",
            "advantages.process.two_level",
            "core.links.logistic",
        ),
        tests=(
            "tests/advantages/test_process.py",
            "tests/reward_models/test_process.py",
            "tests/rewards/test_likelihood.py",
            _STEP_TESTS,
        ),
        shown=(
            f"{_EQUAL} Step rewards are 0 while the reward model is the "
            "policy; a constant added to all scores leaves its loss."
        ),
        differs=(
            "All steps enter the statistics of steps; the released code keeps "
            "one a trajectory. The penalty of invalid actions is left to the "
            "reward. In the study both levels are standardised and implicit "
            "steps gain nothing, neither at its rate of the policy nor at a "
            "larger one where outcomes alone already solve the chain: while "
            "successes are rare the reward model sees few pairs. The paper's "
            "scale has a pretrained one."
        ),
    ),
    Method(
        slug="tp_grpo",
        title="TP-GRPO: rewards of thoughts",
        paper="Good Learners Think Their Thinking",
        functions=(
            "recipes.two_level.tp_grpo",
            "recipes.two_level.thought_credit",
            "advantages.process.group_thoughts",
            "advantages.process.thought_rewards",
            "rewards.agreement.unrevised",
        ),
        tests=(
            "tests/advantages/test_process.py",
            "tests/rewards/test_agreement.py",
            _STEP_TESTS,
        ),
        shown=(
            f"{_EQUAL} Tokens of the answer keep the sign of the outcome; "
            "without weight on thoughts it is GRPO."
        ),
        differs=(
            "The weights are ours. They are standardised over the thoughts of "
            "a prompt, which would cancel a factor inside; ours stands "
            "outside. The study's judge sees only what is revised later, so "
            "mistakes that stand count as right, and it does not save "
            "samples; the paper's claim needs a judge that finds them, and a "
            "reasoning model."
        ),
    ),
    Method(
        slug="climb_noisy_rewards",
        title="Noisy rewards, and rewards of the form of reasoning",
        paper=(
            "Lv et al., The Climb Carves Wisdom Deeper Than the Summit, 2025, "
            "arXiv:2505.22653"
        ),
        functions=(
            "rewards.patterns.form_score",
            "rewards.patterns.reasoning_form",
            "rewards.patterns.repetition",
            "shaping.transforms.calibrated_mix",
            "noise.channels.flip_binary",
        ),
        tests=(
            "tests/rewards/test_patterns.py",
            "tests/noise/test_group_noise.py",
            "tests/shaping/test_transforms.py",
        ),
        shown=(
            "A flipped group has the opposite advantages; noise drawn per "
            "sample averages inside a group, noise per group does not: exact "
            "variances. A repeated paragraph loses its score."
        ),
        differs=(
            "Repeated runs of words are a share of the distinct runs; the "
            "released code divides by all runs, so that more repetition costs "
            "less. The rule of calibration is reconstructed. No model was "
            "trained on the form alone."
        ),
    ),
    Method(
        slug="multi_reward",
        title="Several rewards: missing ones and unequal scales (GDPO)",
        paper=(
            "Liu et al., GDPO: Group reward-Decoupled Normalization Policy "
            "Optimization, 2026"
        ),
        functions=(
            "recipes.multi_reward.gdpo",
            "recipes.multi_reward.multi_reward_credit",
            "shaping.aggregation.normalize_then_sum",
            "shaping.aggregation.sum_then_normalize",
            "shaping.aggregation.weighted_sum",
            "advantages.running.update_tasks",
            "advantages.running.task_standardized",
        ),
        tests=(
            "tests/shaping/test_aggregation.py",
            "tests/advantages/test_running.py",
            _STEP_TESTS,
        ),
        shown=(
            f"{_EQUAL} Scales of components do not matter; a missing one adds "
            "nothing. Running statistics of tasks are those of all rewards at "
            "once, in any split."
        ),
        differs=(
            "The paper has no missing rewards and no running statistics."
        ),
    ),
)
