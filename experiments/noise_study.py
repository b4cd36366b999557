"""Exactly solvable studies of learning from verifiers that err.

Run: python -m experiments.noise_study --config=configs/noise_study/sweep.py
Writes config.json, metrics.jsonl, report.html and figures/ to the run
directory, and docs/results/<slug>.json with --write_results. A criterion that
is not met is a result, not an error.
"""

import functools

from absl import app, flags

from experiments import commands, study_command
from experiments.noise_studies import (
    agents,
    appeals,
    curricula,
    data,
    exploration,
    fixed_points,
    flow,
    form,
    leaks,
    learned_steps,
    likelihood,
    mixture,
    noise_and_tiers,
    outcomes,
    privacy,
    recommender,
    renorm,
    routes,
    stability,
    steps,
    sweep,
    thoughts,
    tools,
    traces,
    verdicts,
)

STUDIES = {
    "uniform_noise": verdicts.uniform_noise,
    "two_verifiers": verdicts.two_verifiers,
    "hackable_verifier": verdicts.hackable_verifier,
    "kl_fixed_point": fixed_points.kl_fixed_point,
    "drifting_rates": appeals.drifting_rates,
    "sweep": sweep.sweep,
    "unlikeliness_reward": exploration.unlikeliness_reward,
    "dcpo_entropy": exploration.dcpo_entropy,
    "brorl_balance": exploration.brorl_balance,
    "lp_reg_floor": stability.lp_reg_floor,
    "g2rpo_tasks": stability.g2rpo_tasks,
    "stable_reinforce_glitches": stability.stable_reinforce_glitches,
    "amft_mixture": mixture.amft_mixture,
    "oreal_key_token": outcomes.oreal_key_token,
    "likelihood_rewards": likelihood.likelihood_rewards,
    "rlpr": likelihood.rlpr,
    "climb_noisy_rewards": noise_and_tiers.climb_noisy_rewards,
    "climb_noisy_rewards_form": form.climb_noisy_rewards_form,
    "co_reward": noise_and_tiers.co_reward,
    "sweet_spot_learning": noise_and_tiers.sweet_spot_learning,
    "reward_refinement": steps.reward_refinement,
    "reward_refinement_trained": (
        learned_steps.reward_refinement_trained
    ),
    "gated_reward_accumulation": steps.gated_reward_accumulation,
    "oprl": steps.oprl,
    "ppr_renorm": renorm.ppr_renorm,
    "tp_grpo": thoughts.tp_grpo,
    "tint_cot_noise": traces.tint_cot_noise,
    "dp_sequential": privacy.dp_sequential,
    "random_calculation": data.random_calculation,
    "random_calculation_leak": leaks.random_calculation_leak,
    "tacred_noise": data.tacred_noise,
    "small_edits": data.small_edits,
    "lare": curricula.lare,
    "dump_curriculum": curricula.dump_curriculum,
    "soar": curricula.soar,
    "soar_any_progress": curricula.soar,
    "tool_rl": tools.tool_rl,
    "multiturn_guide": agents.multiturn_guide,
    "rewardmap": routes.rewardmap,
    "rere": recommender.rere,
    "rlfr": flow.rlfr,
}


run = functools.partial(study_command.run, STUDIES, "noise_study")


def main(argv):
  del argv
  study_command.main(STUDIES, "noise_study")


if __name__ == "__main__":
  study_command.define_flags("noise_study")
  flags.adopt_module_key_flags(study_command)  # or --help hides them
  app.run(main, flags_parser=commands.parse_flags)
