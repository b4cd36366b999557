"""Rows of `docs/methods.md`: papers on rewards learned from comparisons."""

from experiments.methods.row import Method

_STUDIES = "tests/experiments/test_reward_study.py"
_NOISY = "tests/recipes/test_noisy_pairs.py"
_LATENT = "tests/recipes/test_latent_rewards.py"
_ENSEMBLES = "tests/reward_models/test_ensembles.py"
_SCALE = "Models of billions of parameters, and people's labels, are not here."

METHODS = (
    Method(
        slug="rm_ensembles",
        title="Ensembles against over-optimisation",
        paper=(
            "Coste et al., Reward Model Ensembles Help Mitigate "
            "Overoptimization, 2023"
        ),
        functions=(
            "reward_models.ensembles.worst_case",
            "reward_models.ensembles.mean_minus_variance",
            "reward_models.ensembles.mean_minus_std",
            "reward_models.ensembles.fit",
            "diagnostics.overoptimization.best_of_n_curve",
            "diagnostics.overoptimization.best_of_n_kl",
        ),
        tests=(
            _ENSEMBLES,
            "tests/diagnostics/test_overoptimization.py",
            "tests/experiments/test_reward_beds.py",
            "tests/experiments/test_reward_study_parts.py",
        ),
        shown=(
            "Every rule by hand; no rule exceeds the mean, order does not "
            "matter, members that agree make all rules agree. Best-of-n is "
            "the mean over all subsets, by enumeration."
        ),
        differs=(
            "The public code has the population variance in best-of-n and the "
            "sample variance in PPO: here one of both, by `ddof`. A "
            "coefficient of 0 is the mean; there it became 1. Members are "
            "standardised first. How far a single model falls depends on how "
            "it extrapolates: bounded networks (tanh) hardly fall, unbounded "
            "ones (ReLU) take every rule down with them where all members "
            "extrapolate alike. PPO is a Gaussian policy trained by "
            "leave-one-out policy gradient, its KL exact: there careful rules "
            "lose less and later than one member, and the plain mean of five "
            "does no better than one. A penalty on KL is more than stopping "
            "early here, against what Gao et al. 2022 find: at equal KL its "
            "end has a higher proxy than the path without one, which does not "
            "spend its KL where it pays most, and a higher true reward too; "
            "too small a penalty over-optimises as none does. "
            f"{_SCALE}"
        ),
        configs=(
            "configs/reward_study/rm_ensembles_unbounded.py",
            "configs/reward_study/frontier.py",
            "configs/reward_study/frontier_kl.py",
        ),
        results=("frontier",),
    ),
    Method(
        slug="helping_or_herding",
        title="Pretraining seeds against fine-tuning seeds",
        paper=(
            "Eisenstein et al., Helping or Herding? Reward Model Ensembles "
            "Mitigate but do not Eliminate Reward Hacking, 2023"
        ),
        functions=(
            "reward_models.pairwise.centre_penalty",
            "reward_models.ensembles.init_members",
            "diagnostics.agreement.rank_agreement",
            "diagnostics.overoptimization.transferred_gains",
        ),
        tests=(
            "tests/reward_models/test_pairwise.py",
            _ENSEMBLES,
            "tests/diagnostics/test_agreement.py",
            "tests/diagnostics/test_overoptimization.py",
        ),
        shown=(
            "Shared sub-trees start equal and all else does not; agreement "
            "and transferred gains against NumPy and enumeration."
        ),
        differs=(
            "A pretraining seed is here the draw of a random encoder. The "
            f"weight of the penalty, 0.01, is from memory. {_SCALE}"
        ),
    ),
    Method(
        slug="crm",
        title="CRM: two reward models select pairs for each other",
        paper=(
            "Two Minds Better Than One: Collaborative Reward Modeling for LLM "
            "Alignment, 2025"
        ),
        functions=(
            "recipes.noisy_pairs.crm",
            "noise.selection.co_teaching_weights",
            "noise.selection.keep_schedule",
        ),
        tests=(_NOISY, "tests/noise/test_selection.py"),
        shown=(
            "Each model's gradient is that of its peer's selection; the "
            "number kept is exact with ties; identical models select for "
            "themselves; keeping all is two plain models."
        ),
        differs=(
            "No code was released: the schedule of the share kept and the "
            "order of the curriculum (mean margin of both, largest first) are "
            "ours, and the order does harm: once batches are sorted by "
            "margin, the last ones hold little but wrong labels, of which "
            "each batch still keeps its share. Peers that select from "
            "shuffled batches do what the paper says, and no better than a "
            "model that selects for itself. Noise is symmetric and its rate "
            "is told."
        ),
    ),
    Method(
        slug="secrets_rm",
        title="Strength of preferences, and a reward model that stays sharp",
        paper=(
            "Wang et al., Secrets of RLHF in Large Language Models Part II: "
            "Reward Modeling, 2024"
        ),
        functions=(
            "recipes.noisy_pairs.secrets_rm",
            "recipes.noisy_pairs.meta_rm_params",
            "reward_models.ensembles.preference_strength",
            "noise.selection.quantile_relabel",
            "reward_models.contrastive.info_nce",
            "reward_models.spread.meta_difference",
        ),
        tests=(
            _NOISY,
            "tests/noise/test_selection.py",
            "tests/reward_models/test_spread.py",
            "tests/reward_models/test_contrastive.py",
        ),
        shown=(
            "Every treatment of a pair by hand, a flipped one with its margin "
            "seen from the other item; the meta gradient is that of the loss "
            "at the point moved along finite differences, and plain without a "
            "step."
        ),
        differs=(
            "The public trainer takes log(p + 1e-5), which caps the loss: "
            "here log-sigmoid. Strength comes from members that saw the pairs "
            "briefly; trained to the end they agree with wrong labels. The "
            "meta step is first-order, a place to read the loss, and does the "
            "opposite of what the paper says here: rewards where the policy "
            "has gone are less spread, the larger the step the less, and "
            "accuracy there does not rise. The loss is fitted at the moved "
            "parameters, where spread and accuracy are those of plain "
            "training; the parameters that are kept lie a step back. "
            "The policy is Gaussian with a mean moved by hand."
        ),
        configs=("configs/reward_study/secrets_rm_meta.py",),
    ),
    Method(
        slug="preference_noise",
        title="Preference labels that lie",
        paper=(
            "Natarajan et al. 2013, Patrini et al. 2017, Ghosh et al. 2015, "
            "Han et al. 2018, on one task"
        ),
        functions=(
            "noise.preferences.forward_loss",
            "noise.preferences.backward_loss",
            "core.links.sigmoid",
            "noise.selection.small_loss_weights",
        ),
        tests=(
            "tests/noise/test_preferences.py",
            "tests/core/test_links.py",
            "tests/noise/test_selection.py",
        ),
        shown=(
            "The backward loss is unbiased over all flips, the forward loss "
            "is the likelihood, the robust one symmetric."
        ),
        differs="All are told the true rates; see `docs/noise.md`.",
    ),
    Method(
        slug="oprm",
        title="OPRM: grades learned from preferences",
        paper="Learning Ordinal Probabilistic Reward from Preferences, 2025",
        functions=(
            "recipes.latent_rewards.oprm",
            "reward_models.ordinal.preference_log_prob",
            "reward_models.ordinal.region_mask",
            "reward_models.ordinal.moments",
        ),
        tests=(_LATENT, "tests/reward_models/test_ordinal.py"),
        shown=(
            "Masses and losses of both kinds of regions by hand; win, tie and "
            "loss sum to 1; pairs with, without and against their levels in "
            "one batch."
        ),
        differs=(
            "The repository held no code: flood, the triangle that the block "
            "spans, is our reading, so both are here."
        ),
    ),
    Method(
        slug="helpsteer2_preference",
        title="HelpSteer2-Preference: ratings, then preferences",
        paper=(
            "Wang et al., HelpSteer2-Preference: Complementing Ratings with "
            "Preferences, 2024"
        ),
        functions=(
            "reward_models.pairwise.pairwise_logistic",
            "models.interpolation.extrapolate",
        ),
        tests=(
            "tests/reward_models/test_pairwise.py",
            "tests/models/test_interpolation.py",
        ),
        shown=(
            "Margin and weight by hand; strength 1 is plain Bradley-Terry "
            "when scaled and is not as a margin; a factor of 1 is the end "
            "point exactly."
        ),
        differs=(
            "Learning rates are from memory. A pair is rated twice and "
            "compared once here, so that regression alone is as good as both "
            "and going beyond does not help. In the released file a positive "
            f"strength means that the second response is better. {_SCALE}"
        ),
    ),
    Method(
        slug="pal",
        title="PAL: ideal points of users who disagree",
        paper=(
            "Chen et al., PAL: Pluralistic Alignment Framework for Learning "
            "from Heterogeneous Preferences, 2024"
        ),
        functions=(
            "recipes.latent_rewards.pal",
            "recipes.latent_rewards.pal_angular",
            "reward_models.latent.ideal_point",
            "reward_models.latent.ideal_point_reward",
            "reward_models.latent.angular_reward",
            "reward_models.latent.mixture_weights",
        ),
        tests=(_LATENT, "tests/reward_models/test_latent.py"),
        shown=(
            "Margin and hinge by hand; one prototype makes users equal; "
            "rotations change nothing; an item at its ideal point has a "
            "finite gradient."
        ),
        differs=(
            "In the public code one learner returns left minus right, which "
            "says that the right is better, one variant feeds distances as "
            "logits, and the bound is computed but not added. The study "
            "trains the ideal-point form (PAL-A), not the angular one."
        ),
    ),
    Method(
        slug="vpl",
        title="VPL: a latent for each user",
        paper=(
            "Poddar et al., Personalizing Reinforcement Learning from Human "
            "Feedback with Variational Preference Learning, 2024"
        ),
        functions=(
            "recipes.latent_rewards.vpl",
            "models.set_encoder.SetEncoder",
            "reward_models.latent.draw_latent",
            "reward_models.latent.kl_anneal",
            "reward_models.latent.win_rate_reward",
            "reward_models.latent.query_information",
        ),
        tests=(
            _LATENT,
            "tests/models/test_set_encoder.py",
            "tests/reward_models/test_latent.py",
        ),
        shown=(
            "Loss and divergence by hand; the encoder sees neither order nor "
            "padding; scaled rewards and information of a question by hand."
        ),
        differs=(
            "The language version trains with normalised latents and reads "
            "raw means: here both or none. Its evaluation KL lacks the factor "
            "1/2. The price that collapses still lets the mean, which is then "
            "tiny, tell kinds apart: watch the KL."
        ),
    ),
    Method(
        slug="optdist",
        title="OptDist: a choice of distributions",
        paper=(
            "Weng et al., OptDist: Learning Optimal Distribution for Customer "
            "Lifetime Value Prediction, 2024"
        ),
        functions=(
            "recipes.latent_rewards.optdist",
            "reward_models.zero_inflated.negative_log_likelihood",
            "reward_models.zero_inflated.gate_loss",
            "reward_models.zero_inflated.select",
            "diagnostics.agreement.norm_gini",
        ),
        tests=(
            _LATENT,
            "tests/reward_models/test_zero_inflated.py",
            "tests/diagnostics/test_agreement.py",
        ),
        shown=(
            "Likelihoods by hand and against finite differences at 0 and "
            "above; one expert is the plain likelihood; the draw is one-hot."
        ),
        differs=(
            "The focal exponent and the weight of the divergence are ours; "
            "experts start apart. The field experiments cannot be repeated."
        ),
    ),
    Method(
        slug="dmoerm",
        title="DMoERM: a router, and experts within each task",
        paper=(
            "Quan, DMoERM: Recipes of Mixture-of-Experts for Effective Reward "
            "Modeling, 2024"
        ),
        functions=(
            "models.experts.ExpertFusion",
            "models.experts.route",
            "models.lora.merge",
            "reward_models.pairwise.listwise_pairs",
        ),
        tests=(
            "tests/models/test_experts.py",
            "tests/models/test_lora.py",
            "tests/reward_models/test_pairwise.py",
        ),
        shown=(
            "Fusion reads all hidden states and gives exactly no gradient to "
            "them; a fresh adapter changes nothing; ranks 1, 1, 2 make two "
            "pairs."
        ),
        differs=(
            "The public code takes the cross-entropy of probabilities as of "
            "logits, swaps training and validation, and fuses scores; here as "
            "in the paper. The router is linear, and every phase keeps what "
            "did best on held-out pairs; without that the fusion memorises the "
            f"wrong labels of its share. {_SCALE}"
        ),
    ),
    Method(
        slug="basereward",
        title="BaseReward: heads of a reward model",
        paper="BaseReward: A Strong Baseline for Multimodal Reward Model, 2025",
        functions=(
            "models.heads.VectorHead",
            "reward_models.pairwise.zero_penalty",
            "reward_models.ensembles.weighted",
            "shaping.combination.gated",
        ),
        tests=(
            "tests/models/test_heads.py",
            "tests/reward_models/test_pairwise.py",
        ),
        shown=(
            "Without hidden layers a head is linear; a bias changes no "
            "comparison; the penalty by hand."
        ),
        differs=(
            "No code was released. Features are those of a frozen random "
            "network: which activation is best, and text data for images, "
            "cannot be tested so."
        ),
    ),
    Method(
        slug="social_reward",
        title="Social Reward: popularity by two towers",
        paper=(
            "Isajanyan et al., Social Reward: Evaluating and Enhancing "
            "Generative AI through Million-User Feedback, 2024"
        ),
        functions=(
            "reward_models.contrastive.triplet",
            "reward_models.contrastive.cosine",
            "reward_models.pairwise.popularity_pairs",
        ),
        tests=(
            "tests/reward_models/test_contrastive.py",
            "tests/reward_models/test_pairwise.py",
        ),
        shown=(
            "Distances and loss by hand; equal to the form in cosines; no "
            "gradient once these are apart by half the margin."
        ),
        differs=(
            "Popularity is the true score plus noise; the data of the paper "
            "and its image generators are not here."
        ),
    ),
    Method(
        slug="rm_consistency",
        title="Consistency of rewards between alike instructions",
        paper=(
            "Shen et al., The Trickle-down Impact of Reward (In-)consistency "
            "on RLHF, 2023"
        ),
        functions=(
            "diagnostics.instructions.response_consistency",
            "diagnostics.instructions.instruction_consistency",
            "diagnostics.instructions.contrast_pairs",
            "shaping.combination.reward_fusion",
            "data.hulls.convex_hull_augment",
        ),
        tests=(
            "tests/diagnostics/test_instructions.py",
            "tests/shaping/test_combination.py",
            "tests/data/test_hulls.py",
            "tests/experiments/test_reward_study_parts.py",
        ),
        shown=(
            "Both measures by hand; a reward blind to instructions has C_ins "
            "0, or 1/2 with ties counted half; fusion without neighbours is "
            "the identity."
        ),
        differs=(
            "The public augmentation appends one object for every corner of "
            "the hull, so that all are the last, and counts ties as "
            "consistent. Rewards are bilinear in Gaussian vectors here; "
            "fusion with near pairs of the training set lowers both measures "
            "there. ConvexDA is measured on answers with synonyms, and does "
            "harm there: corners of the hull, and random variants almost as "
            "much, lower C_res and accuracy, since only chosen answers are "
            "reworded and rare words come to mark them. With rejected answers "
            "reworded as well all measures rise. What consistency does to "
            "RLHF is not measured."
        ),
        configs=("configs/reward_study/rm_consistency_convex.py",),
    ),
    Method(
        slug="reward_topology",
        title="Which answers to compare: trees and chains",
        paper=(
            "Qiu et al., Reward Generalization in RLHF: A Topological "
            "Perspective, 2024"
        ),
        functions=(
            "search.prefix_tree.prefix_tree",
            "search.prefix_tree.tree_pairs",
            "diagnostics.uncertainty.inference_distance",
            "diagnostics.uncertainty.difference_variance",
        ),
        tests=(
            "tests/search/test_prefix_tree.py",
            "tests/diagnostics/test_uncertainty.py",
        ),
        shown=(
            "Resistances in a row, in parallel and in a triangle; the "
            "variance of a Gaussian process is the resistance of the same "
            "graph; leaves share the prefixes that their indices share."
        ),
        differs=(
            "The Gaussian process is ours. A tree concentrates what is known "
            "on answers that share beginnings, as in best-of-n, and leaves "
            "more open elsewhere: the paper's claim holds on the tree only. "
            "The same number of pairs is compared, not of answers."
        ),
    ),
)
