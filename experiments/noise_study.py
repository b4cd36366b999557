"""Exactly solvable studies of learning from verifiers that err.

Run: python -m experiments.noise_study --config=configs/noise_study/sweep.py
Writes config.json, metrics.jsonl, report.html and figures/ to the run
directory, and docs/results/<slug>.json with --write_results. A criterion that
is not met is a result, not an error.
"""

import pathlib

import ml_collections as mlc
from absl import app, flags
from ml_collections import config_flags

from experiments import (
    commands,
    noise_appeals,
    noise_fixed_points,
    noise_sweep,
    noise_verdicts,
    results,
    studies,
    studies_agents,
    studies_curricula,
    studies_data,
    studies_exploration,
    studies_flow,
    studies_form,
    studies_leaks,
    studies_learned_steps,
    studies_likelihood,
    studies_mixture,
    studies_noise_and_tiers,
    studies_outcomes,
    studies_privacy,
    studies_recommender,
    studies_renorm,
    studies_routes,
    studies_stability,
    studies_steps,
    studies_thoughts,
    studies_tools,
    studies_traces,
)
from experiments.choices import choose

STUDIES = {
    "uniform_noise": noise_verdicts.uniform_noise,
    "two_verifiers": noise_verdicts.two_verifiers,
    "hackable_verifier": noise_verdicts.hackable_verifier,
    "kl_fixed_point": noise_fixed_points.kl_fixed_point,
    "drifting_rates": noise_appeals.drifting_rates,
    "sweep": noise_sweep.sweep,
    "unlikeliness_reward": studies_exploration.unlikeliness_reward,
    "dcpo_entropy": studies_exploration.dcpo_entropy,
    "brorl_balance": studies_exploration.brorl_balance,
    "lp_reg_floor": studies_stability.lp_reg_floor,
    "g2rpo_tasks": studies_stability.g2rpo_tasks,
    "stable_reinforce_glitches": studies_stability.stable_reinforce_glitches,
    "amft_mixture": studies_mixture.amft_mixture,
    "oreal_key_token": studies_outcomes.oreal_key_token,
    "likelihood_rewards": studies_likelihood.likelihood_rewards,
    "rlpr": studies_likelihood.rlpr,
    "climb_noisy_rewards": studies_noise_and_tiers.climb_noisy_rewards,
    "climb_noisy_rewards_form": studies_form.climb_noisy_rewards_form,
    "co_reward": studies_noise_and_tiers.co_reward,
    "sweet_spot_learning": studies_noise_and_tiers.sweet_spot_learning,
    "reward_refinement": studies_steps.reward_refinement,
    "reward_refinement_trained": (
        studies_learned_steps.reward_refinement_trained
    ),
    "gated_reward_accumulation": studies_steps.gated_reward_accumulation,
    "oprl": studies_steps.oprl,
    "ppr_renorm": studies_renorm.ppr_renorm,
    "tp_grpo": studies_thoughts.tp_grpo,
    "tint_cot_noise": studies_traces.tint_cot_noise,
    "dp_sequential": studies_privacy.dp_sequential,
    "random_calculation": studies_data.random_calculation,
    "random_calculation_leak": studies_leaks.random_calculation_leak,
    "tacred_noise": studies_data.tacred_noise,
    "small_edits": studies_data.small_edits,
    "lare": studies_curricula.lare,
    "dump_curriculum": studies_curricula.dump_curriculum,
    "soar": studies_curricula.soar,
    "soar_any_progress": studies_curricula.soar,
    "tool_rl": studies_tools.tool_rl,
    "multiturn_guide": studies_agents.multiturn_guide,
    "rewardmap": studies_routes.rewardmap,
    "rere": studies_recommender.rere,
    "rlfr": studies_flow.rlfr,
}


def run(
    config: mlc.ConfigDict,
    workdir: pathlib.Path,
    results_dir: pathlib.Path | None = None,
) -> studies.Study:
  """Runs one study and writes its files.

  Args:
    config: `study` names it, `slug` its result, `options` are its arguments.
    workdir: the run directory.
    results_dir: where the result is kept; None keeps none.

  Raises:
    ValueError: if a field holds none of its choices.
  """
  function = choose("study", STUDIES, config.study)
  config = config.to_dict()
  study = function(**config["options"])
  studies.publish(
      study,
      config,
      workdir,
      command=(
          "python -m experiments.noise_study --config=configs/noise_study/"
          f"{config['study']}.py --write_results"
      ),
      results_dir=results_dir,
  )
  return study


def define_flags() -> None:
  """Only for the command: other commands define the same names."""
  config_flags.DEFINE_config_file("config", lock_config=True)
  flags.DEFINE_string(
      "workdir", None, "Run directory; default runs/noise_study/<name>."
  )
  flags.DEFINE_bool(
      "write_results", False, "Keep the result in docs/results."
  )
  flags.mark_flag_as_required("config")


def main(argv):
  del argv
  given = flags.FLAGS
  workdir = given.workdir or f"runs/noise_study/{given.config.study}"
  kept = results.RESULTS if given.write_results else None
  run(given.config, pathlib.Path(workdir), kept)


if __name__ == "__main__":
  define_flags()
  app.run(main, flags_parser=commands.parse_flags)
