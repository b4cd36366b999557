"""Rows of `docs/methods.md`: papers on steps, turns and who is credited."""

from experiments.methods.row import Method

_STEP_TESTS = "tests/recipes/test_step_recipes.py"
_EQUAL = (
    "The recipe equals the formula in plain NumPy loops, loss and gradient; "
    "masked and unknown entries are never read."
)

METHODS = (
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
        switch=(
            "recipe.name=reward_refinement",
            "steps.scorer=judge",
            "steps.every=2",
        ),
        shown=(
            f"{_EQUAL} Inserted steps change neither sum; the return from a "
            "step on is its score."
        ),
        differs=(
            "The convention that the last step is left to the outcome was not "
            "checked against released code. Scores are set by hand in the "
            "first study, those of a small network trained on labelled steps "
            "in the second; neither gains over the outcome alone, which both "
            "tasks teach well."
        ),
        configs=("configs/noise_study/reward_refinement_trained.py",),
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
        switch=("beside.form.weight=0.5", "beside.form.gate=reached"),
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
        switch=(
            "recipe.name=ppr",
            "steps.scorer=judge",
            "steps.every=2",
        ),
        shown=(
            f"{_EQUAL} Anchored rewards have the sign of the outcome; centred "
            "ones sum to it."
        ),
        differs=(
            "Which of the three normalisations is the paper's own is "
            "uncertain. No principle-based judge is trained: the study's "
            "scores are a table, the main job's those of a head that learns "
            "from outcomes. In the study the standardised mode follows the "
            "judge and loses the outcome."
        ),
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
        switch=(
            "recipe.name=oprl",
            "steps.scorer=process",
            "steps.every=2",
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
        switch=(
            "recipe.name=tp_grpo",
            "steps.scorer=progress",
            "steps.every=2",
            "steps.threshold=0.0",
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
            "reasoning model. In the main job a step is right if it does not "
            "make the reference answer less likely, or as a learned judge "
            "says."
        ),
    ),
    Method(
        slug="multiturn_guide",
        title="Agents over several turns, observations masked",
        paper=(
            "A Practitioner's Guide to Multi-turn Agentic Reinforcement "
            "Learning"
        ),
        functions=(
            "recipes.turns.turn_gae_credit",
            "recipes.turns.turn_group_credit",
            "shaping.turns.dense_turn_reward",
            "shaping.turns.sparse_turn_reward",
            "environments.episodes.play",
            "environments.episodes.replay",
            "environments.quests.world",
            "environments.quests.expert",
            "policies.turns.sample",
            "advantages.placement.step_end",
        ),
        tests=(
            "tests/recipes/test_turns.py",
            "tests/shaping/test_turns.py",
            "tests/environments/test_quests.py",
            "tests/environments/test_episodes.py",
            "tests/policies/test_turns.py",
            "tests/experiments/test_rlvr_turns.py",
        ),
        switch=(
            "task.name=quests",
            'task.kinds=("quest",)',
            "task.tokenizer=byte",
            "task.turns=6",
            "task.quests.length=2",
            "task.prompt_length=4",
            "task.answer_length=18",
            "recipe.name=ppo",
            "shaping.turns=dense",
        ),
        configs=("configs/rlvr/quests.py",),
        shown=(
            "The paper's dense rewards; observation tokens, whatever they "
            "hold, change no gradient of PPO, GRPO or RLOO; the scripted "
            "expert is as short as breadth-first search."
        ),
        differs=(
            "Quests in a small grid, one action token a turn, the reward on "
            "it. A failed episode that gained all that is known still sums "
            "to less than 1. No text games. The study has two rooms on a "
            "side, three objects, and two of them to fetch: about four "
            "commands. Its policy reads the last observation, there is no "
            "KL, and larger quests are longer ones, since a room is a token "
            "of its own. Text games would need a pretrained model. In the "
            "main job a language model plays through its cache, warmed up on "
            "the expert's episodes; its actions are any tokens, of which five "
            "do something, and fresh quests of the sizes trained on test it. "
            "There both rewards solve the quests, from .28 to above .94, and "
            "dense ones are not better; the sizes were set after a longer "
            "warm-up had left nothing to learn."
        ),
    ),
    Method(
        slug="lare",
        title="Return decomposition over factors written as code",
        paper=(
            "Latent Reward: LLM-Empowered Credit Assignment in Episodic "
            "Reinforcement Learning (LaRe)"
        ),
        functions=(
            "recipes.decomposition.lare",
            "recipes.decomposition.lare_credit",
            "reward_models.decomposition.return_decomposition_loss",
            "reward_models.decomposition.subset_decomposition_loss",
            "reward_models.decomposition.fit_linear",
            "reward_models.decomposition.match_returns",
            "reward_models.factors.compile_factor",
            "reward_models.factors.choose_program",
            "models.heads.ValueHead",
        ),
        tests=(
            "tests/reward_models/test_decomposition.py",
            "tests/reward_models/test_factors.py",
            _STEP_TESTS,
        ),
        switch=(
            "recipe.name=lare",
            "steps.scorer=returns",
        ),
        shown=(
            "Least squares on factors recovers the weights exactly; the "
            "subset loss equals the full one on average over all subsets, "
            "value and gradient; a constant factor shares out evenly; factor "
            "texts are parsed, never executed."
        ),
        differs=(
            "The variance term is the one that makes the sum form unbiased; "
            "the released code's lacks a factor K^2. The decoder is linear or "
            "has one hidden layer. The main job trains it on line, on states "
            "of the policy or on factors (steps.factors) of tokens, their "
            "places and log-probs; no generator writes the texts."
        ),
    ),
)
