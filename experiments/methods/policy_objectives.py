"""Rows of the papers on exploration, outcome rewards and mixed imitation."""

from experiments.methods.row import Method

_RECIPE_TEST = "tests/recipes/test_exploration.py"
_EQUAL = (
    "Equal to the formula in plain NumPy loops; padding, order and "
    "microbatches change nothing."
)

METHODS: tuple[Method, ...] = (
    Method(
        slug="lp_reg",
        title="Lp-Reg: rare tokens under a min-p proxy",
        paper=(
            "Low-probability Tokens Sustain Exploration in Reinforcement "
            "Learning with Verifiable Reward"
        ),
        functions=(
            "recipes.exploration.lp_reg",
            "recipes.exploration_credit.lp_reg_credit",
            "objectives.low_probability.protected_surrogate",
            "objectives.low_probability.below_proxy",
            "objectives.low_probability.lowest_tokens",
            "policies.laws.SamplingLaw",
        ),
        tests=(
            "tests/objectives/test_low_probability.py",
            "tests/policies/test_laws.py",
            _RECIPE_TEST,
        ),
        switch=("recipe.name=lp_reg",),
        shown=(
            f"{_EQUAL} On one batch a protected token comes to rest at the "
            "ratio that the closed form says, where the clipped loss drives "
            "it out; exactly on-policy the push is only the mass that the "
            "filter drops."
        ),
        differs=(
            "The least likely tokens are chosen by the sampler's log-probs, "
            "once for the whole batch, so that microbatches and epochs agree; "
            "their number is rounded and at least 1, where the released code "
            "leaves small batches alone; k3 is linear beyond 20 nats instead "
            "of cut at 10, which stopped its gradient. Between batches the "
            "proxy of the sampler sinks with the policy; that of a frozen "
            "reference does not. Retention over a whole training run needs "
            "the paper's 14B models."
        ),
        configs=("configs/noise_study/lp_reg_floor.py",),
    ),
    Method(
        slug="unlikeliness_reward",
        title="Unlikeliness reward",
        paper=(
            "He et al., Rewarding the Unlikely: Lifting GRPO Beyond "
            "Distribution Sharpening"
        ),
        functions=(
            "recipes.exploration.unlikeliness",
            "shaping.ranks.unlikeliness",
            "recipes.exploration_credit.unlikeliness_credit",
            "core.statistics.ranks",
            "diagnostics.pass_at_k.coverage",
        ),
        tests=(
            "tests/shaping/test_ranks.py",
            "tests/diagnostics/test_pass_at_k.py",
            _RECIPE_TEST,
        ),
        switch=("recipe.name=unlikeliness",),
        shown=(
            f"{_EQUAL} Groups of right answers keep a gradient, towards the "
            "rare ones."
        ),
        differs=(
            "Equally likely samples, such as two copies of one answer, share "
            "the mean of their ranks. Collecting groups until a batch is full "
            "is `advantages.dynamic_sampling`; skipping updates with a large "
            "gradient is the optimiser's. What the paper measures needs a "
            "prover and Lean."
        ),
    ),
    Method(
        slug="brorl",
        title="BroRL: the mass balance of a step",
        paper="BroRL: Scaling Reinforcement Learning via Broadened Exploration",
        functions=(
            "diagnostics.mass_balance.mass_balance",
            "diagnostics.mass_balance.sampled_mass_balance",
            "recipes.policy_gradient.rloo",
        ),
        tests=("tests/diagnostics/test_mass_balance.py",),
        switch=(
            "sampling.group_size=64",
            "sampling.parts=4",
            "sampling.mass_balance=True",
        ),
        shown=(
            "Equal to the derivative of the exact update for every sample of "
            "a small policy; the term of unsampled items is the only one "
            "that can be negative, and gone when all are sampled."
        ),
        differs=(
            "The method is a group of many samples, which is an option of "
            "every recipe; the balance is derived here for the step stated. "
            "In the main job, where most answers are never seen, their part "
            "of it is estimated from answers that were drawn once. "
            "Gains of a saturated model need its thousands of steps."
        ),
        configs=("configs/noise_study/brorl_balance.py",),
    ),
    Method(
        slug="dcpo",
        title="DCPO: an entropy target without other samples",
        paper="Distribution-Centric Policy Optimization",
        functions=(
            "recipes.exploration.dcpo",
            "recipes.exploration_credit.dcpo_credit",
            "advantages.distribution.distribution_advantages",
            "advantages.distribution.exploration_weight",
            "advantages.distribution.exploration_temperature",
        ),
        tests=("tests/advantages/test_distribution.py", _RECIPE_TEST),
        switch=("recipe.name=dcpo",),
        shown=(
            f"{_EQUAL} The pull is the tempered policy less the policy, by "
            "enumeration; at the target entropy it is GRPO."
        ),
        differs=(
            "Without a measured entropy, that of the rollouts themselves "
            "serves; a batch without a positive sample is left alone. In the "
            "study the pull has a cap, and entropy settles below its target, "
            "higher for a higher one."
        ),
        configs=("configs/noise_study/dcpo_entropy.py",),
    ),
    Method(
        slug="g2rpo",
        title="Gaussian GRPO",
        paper="OpenVLThinkerV2",
        functions=(
            "recipes.exploration.g2rpo",
            "advantages.quantile.gaussian_quantile",
            "shaping.length.length_trapezoid",
            "objectives.regularizers.entropy_band",
        ),
        tests=(
            "tests/advantages/test_quantile.py",
            "tests/shaping/test_length.py",
            "tests/objectives/test_regularizers.py",
            _RECIPE_TEST,
        ),
        shown=(
            f"{_EQUAL} Unmoved by any increasing map of the rewards; ties "
            "equal the mean over all orders, by enumeration."
        ),
        differs=(
            "Offset 1/2, ties, the length and the entropy term are "
            "reconstructed from descriptions, and no bounds are known. The "
            "band holds the mean entropy of each sample, not of the batch, "
            "so that microbatches add. Joint training of several tasks with "
            "one policy is not measured here."
        ),
        configs=("configs/noise_study/g2rpo_tasks.py",),
    ),
    Method(
        slug="oreal",
        title="OREAL: outcome rewards, token by token",
        paper=(
            "Lyu et al., Exploring the Limit of Outcome Reward for Learning "
            "Mathematical Reasoning"
        ),
        functions=(
            "recipes.oreal.oreal",
            "recipes.exploration_credit.oreal_credit",
            "reward_models.outcome.outcome_loss",
            "reward_models.outcome.token_weights",
            "objectives.outcome.clone_and_push",
            "advantages.outcome.balanced",
            "advantages.outcome.one_of_each",
        ),
        tests=(
            "tests/advantages/test_outcome.py",
            "tests/objectives/test_outcome.py",
            "tests/reward_models/test_outcome.py",
            _RECIPE_TEST,
        ),
        switch=(
            "recipe.name=oreal",
            "steps.scorer=outcome",
        ),
        shown=(
            f"{_EQUAL} Best of N is the optimum of a KL-regularised policy; "
            "scores of right and wrong samples balance by the pass rate."
        ),
        differs=(
            "An outcome that the judge could not decide is unknown and takes "
            "no part; the paper counts it as wrong. Repeating prompts by pass "
            "rate is the data's business, not the loss's. The study is a table "
            "of tokens by prompt: there the reward model does not find the "
            "decisive token while it warms up, and weights by it make learning "
            "slower. Running means also pay whatever follows that token: of "
            "six even a perfect reward model gives it at most 2.5 times the "
            "average. What the weights are to reduce, interference between "
            "tokens, needs a network and long answers."
        ),
        configs=("configs/noise_study/oreal_key_token.py",),
    ),
    Method(
        slug="stable_reinforce",
        title="StableReinforce",
        paper=(
            "R1-Reward: Training Multimodal Reward Model Through Stable "
            "Reinforcement Learning"
        ),
        functions=(
            "recipes.exploration.stable_reinforce",
            "recipes.exploration_credit.stable_credit",
            "advantages.outliers.whiten_without_outliers",
            "objectives.policy_gradient.token_ratio",
            "rewards.consistency.consistency_reward",
        ),
        tests=(
            "tests/advantages/test_outliers.py",
            "tests/rewards/test_consistency.py",
            _RECIPE_TEST,
        ),
        switch=("recipe.name=stable_reinforce",),
        shown=(
            f"{_EQUAL} A log-ratio of 800 leaves loss and gradient finite. "
            "With statistics of one group its only success would be dropped "
            "from 11 samples on; those of the batch keep it."
        ),
        differs=(
            "Standardised values are compared with the threshold itself; the "
            "released code compares them with bounds of the raw ones. Its "
            "judge of image answers, 200 thousand preferences, is not trained "
            "here."
        ),
        configs=("configs/noise_study/stable_reinforce_glitches.py",),
    ),
    Method(
        slug="amft",
        title="AMFT: learning how much to imitate",
        paper=(
            "AMFT: Aligning LLM Reasoners by Meta-Learning the Optimal "
            "Imitation-Exploration Balance"
        ),
        functions=(
            "recipes.exploration.amft",
            "training.meta.mixed_loss",
            "training.meta.one_step_slope",
            "training.meta.lookahead_slope",
            "training.meta.next_weight",
        ),
        tests=("tests/training/test_meta.py", _RECIPE_TEST),
        switch=(
            "recipe.name=amft",
            "imitation.learned=True",
        ),
        shown=(
            f"{_EQUAL} The slope of the weight equals finite differences "
            "through Adam; for plain descent it is the closed form."
        ),
        differs=(
            "The entropy term and the step are reconstructed; one update "
            "moves the weight by a bounded amount. The look-ahead sees one "
            "step: a mediocre optimum that is found at once can hold it. In "
            "the study imitation first and exploration after does as well. "
            "The main job judges an update by the policy gradient of the "
            "next batch, drawn by the parameters that it reached."
        ),
        configs=("configs/noise_study/amft_mixture.py",),
    ),
)
