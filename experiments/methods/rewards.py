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
            "rewards.likelihood.jensen_gains",
        ),
        tests=(
            "tests/rewards/test_likelihood.py",
            "tests/recipes/test_likelihood.py",
            _STEP_TESTS,
        ),
        switch=("reward.name=likelihood", "reward.likelihood=log_prob"),
        shown=(
            "For all five kinds score term and direct term together are the "
            "exact gradient of the expected likelihood, by listing all "
            "reasonings; without the direct term the answers learn nothing. "
            "The multi-sample bound grows with the group towards log E[p]."
        ),
        differs=(
            "The direct term is never rescaled when advantages are "
            "standardised. The main job leaves it out, also of the "
            "multi-sample bound (JEPO), which is there as what each sample "
            "adds to it (reward.likelihood=jensen)."
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
        switch=(
            "reward.name=likelihood",
            "reward.debias=True",
            "beside.format.weight=0.1",
            "credit.estimator=standardized",
            "shaping.spread.factor=0.5",
            "surrogate.clip_high=0.27",
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
        slug="rlfr",
        title="Token rewards from a flow over hidden states",
        paper=(
            "RLFR: Extending Reinforcement Learning for LLMs with Flow "
            "Environment"
        ),
        functions=(
            "recipes.flow.rlfr",
            "recipes.flow.flow_credit",
            "rewards.flow.flow_reward",
            "rewards.flow.flow_score",
            "rewards.flow.velocity_deviation",
            "rewards.flow.noisy_states",
            "rewards.flow.neighbor_condition",
            "models.flow.VelocityNet",
            "diagnostics.agreement.auroc",
        ),
        tests=(
            "tests/rewards/test_flow.py",
            "tests/recipes/test_flow.py",
            "tests/core/test_statistics.py",
        ),
        switch=(
            "recipe.name=rlfr",
            "steps.scorer=flow",
        ),
        shown=(
            "The deviation grows with the distance of a state as its closed "
            "form says; a constant sequence gets 0; padding takes no part in "
            "the scale; no gradient reaches the observed model."
        ),
        differs=(
            "Keeping only the top k tokens is left out. The study observes "
            "the policy as it was before reinforcement, a transformer with "
            "states of eight numbers, and fits the flow on to right answers "
            "with the policy's optimiser. Its flow tells corrupted tokens "
            "from others, but no arm comes to 80 % in 300 steps and both end "
            "alike; long traces of a pretrained model, where one outcome is "
            "far from most tokens, would be needed to see a difference."
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
        switch=("verifier.name=closeness", "shaping.tiers=4"),
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
            "rewards.verifiers.schemas.tool_schemas",
            "data.tool_tasks.ToolTasks",
            "data.builders.tasks.ToolCalls",
        ),
        tests=(
            "tests/rewards/test_tool_calls.py",
            "tests/rewards/test_schemas.py",
            "tests/data/test_task_builders.py",
        ),
        switch=(
            "task.name=jsonl",
            'task.kinds=("all",)',
            "verifier.name=tool_calls",
            "verifier.trusted=tool_calls",
        ),
        shown=(
            "The scores of the released reward on its cases, from -3 to 3; "
            "the order of calls does not matter and a call is used once. "
            "Calls that break the JSON schema of a tool are named."
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
            "data.route_tasks.RouteTasks",
            "data.builders.tasks.Routes",
        ),
        tests=(
            "tests/rewards/test_routes.py",
            "tests/data/test_transit.py",
            "tests/data/test_task_builders.py",
        ),
        switch=(
            "task.name=jsonl",
            'task.kinds=("all",)',
            "verifier.name=routes",
            "verifier.trusted=routes",
        ),
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
        switch=(
            "reward.name=twin",
            "task.rewording=swapped",
            "credit.estimator=standardized",
        ),
        shown=(
            f"{_EQUAL} Answers that cannot be read neither vote nor match; "
            "ties go to the lowest id; equal wordings are their own majority."
        ),
        differs="Wordings come in pairs; no model rewrites the prompts.",
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
        switch=("beside.form.weight=0.1", "beside.form.gate=missed"),
        shown=(
            "A flipped group has the opposite advantages; noise drawn per "
            "sample averages inside a group, noise per group does not: exact "
            "variances. A repeated paragraph loses its score."
        ),
        differs=(
            "Repeated runs of words are a share of the distinct runs; the "
            "released code divides by all runs, so that more repetition costs "
            "less. The rule of calibration is reconstructed. In the second "
            "study a small transformer whose scratch pad helps is paid for "
            "form alone: accuracy rises at first as fast as with the true "
            "reward, then falls again, and ends just short of half its gain. "
            "Where the pad is of no use nothing is gained. The paper's scale, "
            "and its mixing with a reward model, need a language model that "
            "can reason."
        ),
        configs=("configs/noise_study/climb_noisy_rewards_form.py",),
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
        switch=(
            "shaping.combine=normalized",
            "beside.format.weight=0.5",
            "credit.estimator=none",
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
