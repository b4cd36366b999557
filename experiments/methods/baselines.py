"""The noise corrections, the estimators they meet, and the parts beneath."""

from experiments.methods.row import Method

_RECIPES = "recipes.policy_gradient"
_SURROGATES = "objectives.policy_gradient"
_GROUP_TEST = "tests/advantages/test_group.py"
_SURROGATE_TEST = "tests/objectives/test_policy_gradient.py"
_EQUAL = (
    "Equal to the formula in plain NumPy loops; padding, permutation and "
    "microbatches change nothing."
)
_RECIPE_TESTS = (
    "tests/recipes/test_policy_gradient.py",
    "tests/recipes/test_invariance.py",
)

METHODS = (
    Method(
        slug="noisy_verifier_correction",
        title="Backward and forward correction of a noisy verifier",
        paper=(
            "Reinforcement Learning with Verifiable yet Noisy Rewards under "
            "Imperfect Verifiers"
        ),
        functions=(
            "noise.corrections.backward_reward",
            "noise.corrections.forward_weight",
            "noise.corrections.is_no_op",
            "noise.classes.backward_values",
            "noise.channels.flip_binary",
            "noise.rates.rogan_gladen",
            "noise.appeals.update_appeals",
            "advantages.group.bernoulli_standardized",
        ),
        tests=(
            "tests/noise/test_channels.py",
            "tests/noise/test_corrections.py",
            "tests/noise/test_classes.py",
            "tests/noise/test_rates.py",
            "tests/noise/test_appeals.py",
            "tests/noise/test_theorem.py",
        ),
        shown=(
            "Unbiased by enumeration, also where rates differ between prompts "
            "or answers. With one constant pair of rates it changes only the "
            "step size, and after standardisation nothing: `docs/noise.md`."
        ),
        configs=(
            "configs/rlvr/noisy_verifier.py",
            "configs/rlvr/constant_rates.py",
            "configs/noise_study/uniform_noise.py",
            "configs/noise_study/two_verifiers.py",
            "configs/noise_study/hackable_verifier.py",
            "configs/noise_study/kl_fixed_point.py",
            "configs/noise_study/drifting_rates.py",
            "configs/noise_study/sweep.py",
        ),
        results=("noise_study", "noisy_verifier", "verifier_audit"),
    ),
    Method(
        slug="reinforce",
        title="REINFORCE",
        paper=(
            "Williams, Simple statistical gradient-following algorithms for "
            "connectionist reinforcement learning, 1992"
        ),
        functions=(
            f"{_RECIPES}.reinforce",
            f"{_SURROGATES}.score_surrogate",
            "advantages.temporal.reward_to_go",
            "objectives.regularizers.kl_reward_penalty",
            "core.reduction.sequence_sum_mean",
        ),
        tests=(*_RECIPE_TESTS, "tests/advantages/test_temporal.py"),
        switch=("recipe.name=reinforce",),
        shown=f"{_EQUAL} Unbiased by enumeration.",
    ),
    Method(
        slug="reinforce_pp",
        title="REINFORCE++",
        paper="Hu et al., REINFORCE++, 2025, arXiv:2501.03262",
        functions=(
            f"{_RECIPES}.reinforce_pp",
            f"{_SURROGATES}.clipped_surrogate",
            "advantages.temporal.reward_to_go",
            "core.masking.masked_whiten",
            "core.reduction.token_mean",
        ),
        tests=(*_RECIPE_TESTS, "tests/core/test_masking.py"),
        switch=("recipe.name=reinforce_pp",),
        shown=f"{_EQUAL} Whitening leaves padding out.",
    ),
    Method(
        slug="reinforce_pp_baseline",
        title="REINFORCE++-baseline",
        paper="Hu et al., REINFORCE++, 2025, arXiv:2501.03262",
        functions=(
            f"{_RECIPES}.reinforce_pp_baseline",
            f"{_SURROGATES}.clipped_surrogate",
            "advantages.group.centered",
            "core.masking.masked_whiten",
            "core.reduction.token_mean",
        ),
        tests=(*_RECIPE_TESTS, _GROUP_TEST),
        switch=("recipe.name=reinforce_pp_baseline",),
        shown=_EQUAL,
    ),
    Method(
        slug="rloo",
        title="RLOO",
        paper="Ahmadian et al., Back to Basics, 2024, arXiv:2402.14740",
        functions=(
            f"{_RECIPES}.rloo",
            "advantages.group.leave_one_out",
            f"{_SURROGATES}.sequence_ratio",
            f"{_SURROGATES}.clipped_surrogate",
            "core.reduction.sequence_mean",
        ),
        tests=(*_RECIPE_TESTS, _GROUP_TEST, _SURROGATE_TEST),
        switch=("recipe.name=rloo",),
        shown=f"{_EQUAL} Unbiased by enumeration for two or more.",
        differs=(
            "Clips the ratio; at the policy that sampled this changes nothing."
        ),
    ),
    Method(
        slug="grpo",
        title="GRPO",
        paper="Shao et al., DeepSeekMath, 2024, arXiv:2402.03300",
        functions=(
            f"{_RECIPES}.grpo",
            "advantages.group.standardized",
            f"{_SURROGATES}.token_ratio",
            f"{_SURROGATES}.clipped_surrogate",
            "objectives.regularizers.kl_loss",
            "core.reduction.sequence_mean",
        ),
        tests=(*_RECIPE_TESTS, _GROUP_TEST, _SURROGATE_TEST),
        switch=("recipe.name=grpo",),
        shown=(
            f"{_EQUAL} Unmoved by scale and offset of the rewards; "
            "prompts are weighted by their success rate as enumeration says."
        ),
        differs=(
            "The KL loss has the value of k3 and the gradient of KL(p || q); "
            'kl_estimator="k3" is the paper\'s.'
        ),
    ),
    Method(
        slug="dr_grpo",
        title="Dr. GRPO",
        paper=(
            "Liu et al., Understanding R1-Zero-Like Training, 2025, "
            "arXiv:2503.20783"
        ),
        functions=(
            f"{_RECIPES}.dr_grpo",
            "advantages.group.centered",
            f"{_SURROGATES}.clipped_surrogate",
            "core.reduction.fixed_length_mean",
        ),
        tests=(*_RECIPE_TESTS, _GROUP_TEST, "tests/core/test_reduction.py"),
        switch=("recipe.name=dr_grpo",),
        shown=_EQUAL,
    ),
    Method(
        slug="dapo",
        title="DAPO",
        paper="Yu et al., DAPO, 2025, arXiv:2503.14476",
        functions=(
            f"{_RECIPES}.dapo",
            "advantages.group.informative",
            "advantages.dynamic_sampling.fill_groups",
            "shaping.length.overlong_penalty",
            f"{_SURROGATES}.clipped_surrogate",
            "core.reduction.token_mean",
        ),
        tests=(
            *_RECIPE_TESTS,
            "tests/advantages/test_dynamic_sampling.py",
            "tests/shaping/test_length.py",
        ),
        switch=("recipe.name=dapo",),
        shown=(
            f"{_EQUAL} Groups are judged by the outcome, before the "
            "length penalty."
        ),
    ),
    Method(
        slug="gspo",
        title="GSPO",
        paper=(
            "Zheng et al., Group Sequence Policy Optimization, 2025, "
            "arXiv:2507.18071"
        ),
        functions=(
            f"{_RECIPES}.gspo",
            f"{_SURROGATES}.sequence_mean_ratio",
            "advantages.group.standardized",
            "core.reduction.sequence_mean",
        ),
        tests=(*_RECIPE_TESTS, _SURROGATE_TEST),
        switch=("recipe.name=gspo",),
        shown=_EQUAL,
    ),
    Method(
        slug="cispo",
        title="CISPO",
        paper="MiniMax, MiniMax-M1, 2025, arXiv:2506.13585",
        functions=(
            f"{_RECIPES}.cispo",
            f"{_SURROGATES}.detached_surrogate",
            "advantages.group.standardized",
            "core.reduction.token_mean",
        ),
        tests=(*_RECIPE_TESTS, _SURROGATE_TEST),
        switch=("recipe.name=cispo",),
        shown=f"{_EQUAL} No token loses its gradient.",
    ),
    Method(
        slug="decoupled",
        title="Decoupled objectives for stale or other samplers (AReaL, TIS)",
        paper=(
            "Hilton et al., Batch size-invariance for policy optimization, "
            "2021, arXiv:2110.00641; Fu et al., AReaL, 2025, arXiv:2505.24298"
        ),
        functions=(
            "recipes.decoupled.decouple",
            "advantages.off_policy.truncated_weights",
            "training.asynchronous.make_async_program",
        ),
        tests=(
            "tests/recipes/test_decoupled.py",
            "tests/training/test_asynchronous.py",
        ),
        shown=(
            "Untruncated sequence weights are unbiased, by enumeration; a lag "
            "of k is the delayed algorithm, bit for bit."
        ),
    ),
    Method(
        slug="lora",
        title="LoRA beside the kernel",
        paper="Hu et al., LoRA, 2021, arXiv:2106.09685",
        functions=(
            "models.lora.init_lora",
            "models.lora.attach",
            "models.lora.merge",
        ),
        tests=("tests/models/test_lora.py",),
        configs=("configs/rlvr/smollm2.py",),
        results=("smollm2_lora",),
        shown=(
            "Attached and merged updates have equal values and gradients; the "
            "reference is the frozen base."
        ),
    ),
    Method(
        slug="ppo",
        title="PPO with a critic",
        paper=(
            "Schulman et al., Proximal Policy Optimization Algorithms, 2017, "
            "arXiv:1707.06347"
        ),
        functions=(
            "recipes.actor_critic.ppo",
            "advantages.temporal.gae",
            f"{_SURROGATES}.clipped_surrogate",
            "objectives.value.clipped_value_loss",
            "core.masking.masked_whiten",
        ),
        tests=(
            *_RECIPE_TESTS,
            "tests/recipes/test_credit.py",
            "tests/advantages/test_temporal.py",
            "tests/objectives/test_value.py",
        ),
        switch=("recipe.name=ppo",),
        shown=f"{_EQUAL} Observation tokens never leak into GAE.",
    ),
    Method(
        slug="kl_estimators",
        title="KL estimators: value and gradient",
        paper=(
            "Schulman, Approximating KL Divergence, 2020; Tang and Munos, On "
            "a few pitfalls in KL divergence gradient estimation for RL, "
            "2025, arXiv:2506.09477"
        ),
        functions=(
            "objectives.regularizers.kl_loss",
            "objectives.regularizers.kl_reward_penalty",
            "core.divergences.k1",
            "core.divergences.k2",
            "core.divergences.k3",
            "core.divergences.categorical_kl",
        ),
        tests=(
            "tests/core/test_divergences.py",
            "tests/objectives/test_regularizers.py",
        ),
        shown=(
            "Mean, variance and expected gradient of each by enumeration: k1 "
            "as a loss has none, k2 descends KL(p || q), k3 KL(q || p)."
        ),
    ),
)
