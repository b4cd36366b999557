"""Rows of `docs/methods.md`: learned rewards, and generators trained on them.
"""

from experiments.methods.row import Method

_PAIRS = "tests/reward_models/test_pairwise.py"
_DIFFUSION = (
    "tests/diffusion/test_schedules.py",
    "tests/diffusion/test_transitions.py",
    "tests/diffusion/test_samplers.py",
    "tests/diffusion/test_objectives.py",
)

METHODS = (
    Method(
        slug="video_reward",
        title="VideoReward: ties, attributes, and rewards for flows",
        paper=(
            "Liu et al., Improving Video Generation with Human Feedback, 2025"
        ),
        functions=(
            "reward_models.pairwise.rao_kupper",
            "reward_models.pairwise.rao_kupper_log_probs",
            "models.pooling.special",
            "models.heads.VectorHead",
            "models.heads.own_attribute",
            "diagnostics.comparisons.tie_calibrated_accuracy",
            "diffusion.objectives.flow_dpo_loss",
            "diffusion.objectives.flow_rwr_loss",
            "diffusion.guidance.flow_nrg_velocity",
        ),
        tests=(
            _PAIRS,
            "tests/diagnostics/test_comparisons.py",
            "tests/models/test_heads.py",
            *_DIFFUSION,
        ),
        shown=(
            "Probabilities of win, loss and tie sum to 1 and are Bradley-Terry "
            "at k = 1; the calibrated accuracy is the best over all "
            "thresholds. Flow-DPO is log 2 at the reference, Flow-RWR with "
            "equal rewards is flow matching, and guided samples of a Gaussian "
            "flow are the tilted Gaussian exactly."
        ),
        differs=(
            "Missing labels leave the mean's weight as well as its sum; the "
            "public code averages over all. Errors are summed over the event, "
            "so beta is not that of code that averages. The flow is one to "
            "eight points in the plane: at beta 10 and the steps of the other "
            "two, Flow-DPO stays so near its reference that fine-tuning on "
            "the preferred samples gains more; Flow-RWR gains most, and moves "
            "furthest. Video quality needs video models."
        ),
    ),
    Method(
        slug="harmo",
        title="HARMO: rule or model, by task; lengths that hold",
        paper=(
            "Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward "
            "Optimization"
        ),
        functions=(
            "recipes.hybrid.harmo_reward",
            "shaping.combination.gated",
            "shaping.length.group_length_penalty",
            "advantages.group.centered",
            "recipes.policy_gradient.dr_grpo",
        ),
        tests=(
            "tests/recipes/test_hybrid.py",
            "tests/shaping/test_combination.py",
            "tests/shaping/test_length.py",
            "tests/advantages/test_group.py",
        ),
        shown=(
            "Lengths 100, 200, 50, 150 with the first two right cost 0, 0, "
            "1/3, 0; without a right answer nothing is charged. Advantages "
            "sum to 0 in a group and grow with the rewards."
        ),
        switch=(
            "shaping.short_penalty=0.5",
            "credit.estimator=centered",
            "beside.format.weight=0.1",
        ),
        differs=(
            "The formula of the penalty is our reading. In the study short "
            "answers are easy because they keep the form asked for, which is "
            "paid; without the penalty lengths and accuracy fall by a fifth "
            "and do not collapse. Multimodal benchmarks need their models."
        ),
    ),
    Method(
        slug="t2i_reward_hacking",
        title="Reward hacking in text-to-image RL: a detector of artefacts",
        paper=(
            "Understanding Reward Hacking in Text-to-Image Reinforcement "
            "Learning"
        ),
        functions=(
            "rewards.binary_token.binary_token_reward",
            "diagnostics.cross_rewards.cross_reward_matrix",
            "diagnostics.cross_rewards.hacked",
            "search.prompts.prompt_search",
            "shaping.aggregation.zscore_sum",
        ),
        tests=(
            "tests/rewards/test_binary_token.py",
            "tests/diagnostics/test_cross_rewards.py",
            "tests/search/test_prompts.py",
            "tests/shaping/test_aggregation.py",
        ),
        shown=(
            "Equal logits pay 1/2, the two answers share 1, a constant added "
            "to both changes nothing; a weight of 0 leaves the other rewards "
            "alone; the matrix ignores scale and offset of each reward; the "
            "search finds the question that is never wrong."
        ),
        differs=(
            "The detector is a small network trained on digits with strokes, "
            "the generator a table of pixels; it is not refreshed while the "
            "policy moves. Among vectors it halves artefacts; of trained "
            "pictures it takes a quarter, raises the true reward, and ends "
            "hacking with one proxy but not with two. Realism of pictures "
            "needs image models."
        ),
    ),
    Method(
        slug="ctrl_u",
        title="Ctrl-U: a reward weighed by its own doubt",
        paper=(
            "Ctrl-U: Robust Conditional Image Generation via "
            "Uncertainty-aware Reward Modeling"
        ),
        functions=(
            "recipes.control.ctrl_u",
            "rewards.paired.class_uncertainty",
            "rewards.paired.value_uncertainty",
            "shaping.combination.uncertainty_weighted",
            "diffusion.one_step.paired_generations",
            "diffusion.one_step.one_step_x0",
        ),
        tests=(
            "tests/recipes/test_control.py",
            "tests/rewards/test_paired.py",
            "tests/shaping/test_combination.py",
            "tests/diffusion/test_one_step.py",
        ),
        shown=(
            "Equal readings give no doubt and the unweighted loss exactly; "
            "the divergence is that of the second reading from the first; "
            "nothing to read is 0; exact predictions of the noise give the "
            "data back in one step."
        ),
        differs=(
            "The mean of the uncertainty is taken over the rewarded pixels, "
            "and is off by default. In the study weighing is not reliably "
            "better than the plain reward: every rewarded run wanders into "
            "nonsense, how far depends on rounding (another compilation gave "
            "other means, in another order), and intervals overlap. The error "
            "was below that of the plain reward in both compilations only with "
            "the uncertainty held constant, and where half of the space is "
            "nonsense. No reward at all is best: denoising alone already keeps "
            "to the condition. Segmentation and depth need image models."
        ),
    ),
    Method(
        slug="gen_drive",
        title="Gen-Drive: generate, evaluate, fine-tune",
        paper=(
            "Huang et al., Gen-Drive: Enhancing Diffusion Generative Driving "
            "Policies with Reward Modeling and Reinforcement Learning "
            "Fine-tuning, 2024"
        ),
        functions=(
            "recipes.denoising.gen_drive",
            "recipes.denoising.step_policy_loss",
            "recipes.denoising.generate_then_evaluate",
            "models.scenes.SceneEvaluator",
            "diffusion.samplers.rollout",
            "diffusion.samplers.step_log_probs",
            "diffusion.transitions.transition_coeffs",
        ),
        tests=(
            "tests/recipes/test_denoising.py",
            "tests/models/test_scenes.py",
            *_DIFFUSION,
        ),
        shown=(
            "The evaluator does not see the order of agents but for the ego; "
            "choosing among one is a plain sample; equal rewards leave the "
            "gradient of the anchor alone; step densities are those of scipy "
            "and the policy gradient over steps is unbiased."
        ),
        differs=(
            "Paths of eight points past one disc. Choosing by the learned "
            "score is best; training on it with a weak anchor to recorded "
            "paths runs away from all that the evaluator has seen and is "
            "truly far worse; a hundred times the anchor holds it, for a "
            "small gain with no more collisions. Training on the rule, which "
            "does not see progress, stops the car. A first version without a "
            "cost for sudden changes hid this: its progress had no bound. "
            "Closed-loop driving needs its simulator."
        ),
    ),
    Method(
        slug="goal_conditioned_rm",
        title="Goal-conditioned representations of prefixes",
        paper=(
            "Nath et al., Learning Goal-Conditioned Representations for "
            "Language Reward Models, 2024"
        ),
        functions=(
            "reward_models.contrastive.goal_contrastive",
            "reward_models.contrastive.goal_positions",
            "reward_models.goals.goal_state",
            "reward_models.goals.cosine_trace",
            "search.voting.filtered_vote",
            "search.guided.guided_logits",
            "search.guided.reward_guided_decode",
        ),
        tests=(
            "tests/reward_models/test_contrastive.py",
            "tests/reward_models/test_goals.py",
            "tests/search/test_voting.py",
        ),
        shown=(
            "The loss lies between .626523 and 2.626523, is 2 log 2 where "
            "all cosines are 0, and does not see the scale of states; sources "
            "always precede their goals; a vote from which all are filtered "
            "is the plain one."
        ),
        differs=(
            "One threshold for all; when no percentile is configured the "
            "public code leaves it undefined. Goals by guided decoding are "
            "`search.guided` with the cosine as reward. In the study prefixes "
            "are told apart far better, the filter takes more than half of "
            "wrong sequences and the vote gains; the lowest cosine gains a "
            "little less than asked, since without the contrast it is already "
            "close to perfect there: by .04, where an earlier draw of the data "
            "gave .052 and met the criterion. Mathematics and the steering of "
            "large models need large models."
        ),
    ),
    Method(
        slug="music_rl",
        title="MusicRL: designed rewards, then users",
        paper=(
            "Cideron et al., MusicRL: Aligning Music Generation to Human "
            "Preferences, 2024, arXiv:2402.04229"
        ),
        functions=(
            "recipes.staged.music_rl",
            "recipes.staged.standardized_sum",
            "reward_models.ensembles.fit_scale",
            "reward_models.contrastive.cosine",
            "reward_models.pairwise.pairwise_logistic",
            "objectives.regularizers.kl_reward_penalty",
        ),
        tests=(
            "tests/recipes/test_staged.py",
            "tests/reward_models/test_ensembles.py",
            "tests/reward_models/test_contrastive.py",
            _PAIRS,
        ),
        shown=(
            "The expected gradient over all 27 texts of three tokens is that "
            "of the objective with its KL, whatever the baseline; no reward's "
            "unit or offset matters; with a weight of 0 a reward is as if it "
            "were absent."
        ),
        differs=(
            "Texts of ten tokens stand for music, counts of tokens for "
            "embeddings. With stages of 150 steps all three policies won "
            "always, so stages are short; users' preferences from the start "
            "then win as often as after the designed rewards, a hair more. "
            "Human raters and listening are beyond it."
        ),
    ),
    Method(
        slug="polar",
        title="POLAR: rewards from telling policies apart",
        paper=(
            "Dou et al., Pre-Trained Policy Discriminators are General Reward "
            "Models, 2025, arXiv:2507.05197"
        ),
        functions=(
            "reward_models.discriminators.policy_pairs",
            "data.references.pack_reference",
            "data.references.unpack_reference",
            "reward_models.pairwise.pairwise_logistic",
            "reward_models.fitting.fit",
        ),
        tests=(
            "tests/reward_models/test_discriminators.py",
            "tests/data/test_references.py",
            _PAIRS,
        ),
        shown=(
            "A table trained on the exact loss of two policies ranks "
            "candidates by what the reference says of its policy; without the "
            "reference no reward gets below log 2; a prompt that is too long "
            "loses its beginning, answers lose their ends."
        ),
        differs=(
            "Bags of five actions stand for answers. Policies have means of "
            "one length, or people's wishes could be guessed without a "
            "reference; the gain of pre-training is then within the intervals "
            "of the seeds. Scores have any offset "
            "and scale, so normalise advantages. The power law and the large "
            "models' accuracies need their scale."
        ),
    ),
)
