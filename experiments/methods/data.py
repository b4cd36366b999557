"""Rows of `docs/methods.md`: papers on data, worlds and curricula."""

from experiments.methods.row import Method

METHODS = (
    Method(
        slug="random_calculation",
        title="Random arithmetic that nobody has seen, and what leaks show",
        paper=(
            "Wu et al., Reasoning or Memorization? Unreliable Results of "
            "Reinforcement Learning Due to Data Contamination, 2025, "
            "arXiv:2507.10532"
        ),
        functions=(
            "data.expressions.RandomCalculation",
            "data.expressions.noisy_row",
            "data.builders.random_calculation.RandomCalculation",
            "rewards.verifiers.text.continuous_reward",
            "rewards.variants.random_reward",
            "rewards.variants.inverted_reward",
            "rewards.variants.wrong_majority_reward",
            "rewards.variants.format_reward",
            "diagnostics.leakage.partial_prompt_probe",
            "diagnostics.leakage.leak_score",
        ),
        tests=(
            "tests/data/test_expressions.py",
            "tests/data/test_builders.py",
            "tests/rewards/test_variants.py",
            "tests/rewards/test_text.py",
            "tests/diagnostics/test_leakage.py",
            "tests/experiments/test_studies_learning.py",
        ),
        switch=(
            "task.max_operations=3",
            "task.prompt_length=24",
            "task.answer_length=12",
            "reward.name=random",
        ),
        shown=(
            "Answers are exact fractions; problem i does not depend on order, "
            "shard or restart; answers are wrong at the set rate; the probe "
            "finds a table that remembers its strings, not fresh ones."
        ),
        differs=(
            "The first study is a table of answers, one of them memorised; "
            "in the second small transformers learn a benchmark by heart, or "
            "other problems. Exact completion tells them apart; ROUGE-L is one "
            "half on unseen prompts too, by their template alone. Wrong "
            "answers are right ones of other problems of the same kind. No "
            "pretrained model is tested for contamination here; the probe "
            "takes any apply function."
        ),
        configs=("configs/noise_study/random_calculation_leak.py",),
    ),
    Method(
        slug="tint_cot_noise",
        title="Traced integers with corrupted working",
        paper=(
            "Understanding the Effect of Noise in LLM Training Data with "
            "Algorithmic Chains of Thought (TInt)"
        ),
        functions=(
            "data.traced_integers.TracedIntegers",
            "data.traces.run",
            "data.traces.replace_symbols",
            "data.traces.delete_symbols",
            "data.traces.swap_lines",
            "data.builders.traced_integers.TracedIntegers",
        ),
        tests=(
            "tests/data/test_traces.py",
            "tests/data/test_traced_integers.py",
        ),
        switch=(
            "task.name=traced_integers",
            'task.kinds=("sum","sort")',
            "task.tokenizer=byte",
            "task.answer_mark==",
            "task.traced.noise=static",
            "task.traced.intensity=0.1",
            "task.prompt_length=16",
            "task.answer_length=32",
        ),
        shown=(
            "Every program is right on every input; dynamic noise reaches the "
            "answer at the rate of its closed form; static noise at full "
            "strength keeps every answer; rate 0 changes nothing."
        ),
        differs=(
            "The programs and their text are ours. A symbol is drawn anew "
            "from all symbols, so it changes with chance intensity * (base - "
            "1) / base. Line ends and the answer are never noised statically. "
            "The study's order is the reverse of the paper's: where nothing "
            "in the working is said twice, static noise must be undone from "
            "the inputs, while the steps of dynamic noise still follow from "
            "each other. The paper's order needs redundant working "
            "(`redundancy`), pretrained models, or more than the study's "
            "32 thousand samples."
        ),
    ),
    Method(
        slug="small_edits",
        title="Sensitivity to edits that matter, and to those that do not",
        paper=(
            "Small Edits, Big Consequences: Telling Good from Bad Robustness "
            "in Large Language Models"
        ),
        functions=(
            "diagnostics.sensitivity.scores",
            "diagnostics.sensitivity.bootstrap",
            "diagnostics.sensitivity.differential_reward",
            "data.edits.edits_of",
            "data.edits.evaluate",
            "data.list_programs.run",
            "data.edit_tasks.EditTasks",
            "data.builders.tasks.SmallEdits",
        ),
        tests=(
            "tests/data/test_edits.py",
            "tests/data/test_task_builders.py",
            "tests/diagnostics/test_sensitivity.py",
        ),
        shown=(
            "Deletions are nested, flips undo themselves and every flip is "
            "seen by its tests. A solver that ignores the prompt scores adapt "
            "0, stale 1; one that knows each prompt by heart adapts and does "
            "not retain; crashes are no adaptation."
        ),
        differs=(
            "Built from the abstract: tasks, tables and the programming "
            "language are ours; 12 tasks by hand and any number of drawn ones "
            "instead of 50, and no real models."
        ),
    ),
    Method(
        slug="rere",
        title="Ranked beams of a constrained search for recommendation",
        paper="Reinforced Preference Optimization for Recommendation (ReRe)",
        functions=(
            "recipes.recommendation.rere",
            "shaping.ranks.dcg_penalty",
            "search.beam.constrained_beam_search",
            "search.tries.prefix_trie",
            "policies.constraints.TokenConstraint",
            "environments.items.random_shop",
            "environments.items.world",
            "diagnostics.ranking.ndcg",
            "recipes.recommendation.rank_reward",
        ),
        switch=(
            "recipe.name=grpo",
            "sampling.search=beam",
            "reward.name=ranks",
        ),
        tests=(
            "tests/recipes/test_recommendation.py",
            "tests/shaping/test_ranks.py",
            "tests/search/test_beam.py",
            "tests/search/test_tries.py",
            "tests/policies/test_constraints.py",
            "tests/environments/test_items.py",
            "tests/diagnostics/test_ranking.py",
        ),
        shown=(
            "The paper's rewards and advantages; without a hit there is no "
            "gradient; a wide beam equals the exhaustive best of 30 items, "
            "and every beam is a distinct item of the catalogue."
        ),
        differs=(
            "The KL is off by default; the paper's is k3 at 0.001. Scores "
            "are the policy's own log-probs or those of the allowed tokens. "
            "In the study imitation is not finished: going on with it on as "
            "many customers does better than ReRe. What ranked beams add to "
            "a recommender that imitation no longer improves would take a "
            "larger catalogue, and purchases to train on more than once."
        ),
    ),
    Method(
        slug="dump_curriculum",
        title="A bandit over data sources, and stages",
        paper=(
            "DUMP: Automated Distribution-Level Curriculum Learning for "
            "RL-based LLM Post-training"
        ),
        functions=(
            "data.curricula.ucb_weights",
            "data.curricula.ucb_scores",
            "data.curricula.ucb_update",
            "data.curricula.draw_sources",
            "data.curricula.stage_update",
            "data.curricula.stage_at",
        ),
        tests=("tests/data/test_curricula.py",),
        switch=("curriculum.name=ucb",),
        shown=(
            "The paper's scores and weights; ring buffers hold exactly the "
            "last samples, also where a batch holds more than a window; "
            "equal and new states are uniform; neglected sources come back."
        ),
        differs=(
            "Fed with the magnitude of training advantages, one per sample; "
            "the released trainer feeds validation rewards, one per update. "
            "On our toy the lead at step 50 is clear; by step 150 it is gone "
            "to within noise."
        ),
    ),
    Method(
        slug="soar",
        title="A teacher paid by its student's progress",
        paper="Teaching Models to Teach Themselves (SOAR)",
        functions=(
            "training.teaching.grounded_rewards",
            "training.teaching.inner_train",
            "training.teaching.promote",
            "training.teaching.learnability",
            "advantages.group.leave_one_out",
            "environments.ladder.attempt",
        ),
        tests=(
            "tests/training/test_teaching.py",
            "tests/environments/test_ladder.py",
            "tests/experiments/test_rlvr_writing.py",
            "tests/experiments/test_rlvr_teacher.py",
        ),
        switch=("teacher.name=soar",),
        shown=(
            "Equal sets earn equal rewards and so no update; a set without "
            "effect earns exactly 0; the baseline is never changed by inner "
            "training; promotion only above the threshold."
        ),
        differs=(
            "All sets share the keys of learning and measuring. A best set "
            "that did harm is never promoted. The study pays teachers by "
            "standardised advantages: plain ones of 1e-6 would not move them. "
            "Where students start at one in a million their progress never "
            "reaches the threshold of 0.01, and no student is kept: the first "
            "result. The second keeps any progress; then all reach the top, "
            "also on evenly drawn problems, and only learning from the hard "
            "level alone does not. What the teacher adds was not shown; it "
            "needs students that uniform problems do not teach. In "
            "`experiments.rlvr` the hard set is drawn anew from the data at "
            "every step, a text without the task's form is counted and left "
            "out of both losses, and so is one that poses a problem of the "
            "hard set; where nothing can be learned from a set its student "
            "stays as it was. There, on arithmetic, every set that a teacher "
            "of two layers writes does harm, since some of its answers are "
            "wrong: the one that is paid learns to write what does not parse, "
            "gains go from -.05 to 0, and no student is kept. A first run, "
            "with four times the learning rate and gains on products alone, "
            "was as flat. It needs a teacher whose answers are right."
        ),
        configs=("configs/noise_study/soar_any_progress.py",),
    ),
)
