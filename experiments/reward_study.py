"""Studies of learned rewards, on data whose true reward is known.

Run: python -m experiments.reward_study --config=configs/reward_study/<name>.py
Writes config.json, metrics.jsonl, report.html and figures/ to the run
directory, and docs/results/<slug>.json with --write_results. A criterion that
is not met is a result, not an error.
"""

import functools

from absl import app, flags

from experiments import commands, study_command
from experiments.reward_studies import (
    control,
    critiques,
    driving,
    ensembles,
    experts,
    failures,
    frontier,
    frontier_kl,
    goals,
    graphs,
    heads,
    herding,
    hull_pairs,
    hybrid,
    latent,
    lengths,
    matching,
    meta_pairs,
    music,
    noisy_pairs,
    pictures,
    policies,
    preference_noise,
    probes,
    protocols,
    segments,
    step_judges,
    step_labels,
    step_pairs,
    step_trees,
    values,
    video,
    votes,
)

STUDIES = {
    "basereward": heads.basereward,
    "crm": noisy_pairs.crm,
    "ctrl_u": control.ctrl_u,
    "dmoerm": experts.dmoerm,
    "fgaif": segments.fgaif,
    "frontier": frontier.frontier,
    "frontier_kl": frontier_kl.frontier_kl,
    "gen_drive": driving.gen_drive,
    "goal_conditioned_rm": goals.goal_conditioned_rm,
    "grounded_prm": step_trees.grounded_prm,
    "harmo": hybrid.harmo,
    "helping_or_herding": herding.helping_or_herding,
    "helpsteer2_preference": heads.helpsteer2_preference,
    "hrm": step_pairs.hrm,
    "ixc_reward": lengths.ixc_reward,
    "m_rewardbench": protocols.m_rewardbench,
    "mm_rlhf": critiques.mm_rlhf,
    "mrmbench": probes.mrmbench,
    "multi_rm": step_judges.multi_rm,
    "music_rl": music.music_rl,
    "oprm": latent.oprm,
    "optdist": values.optdist,
    "pal": latent.pal,
    "polar": policies.polar,
    "preference_noise": preference_noise.preference_noise,
    "reform": failures.reform,
    "reward_topology": graphs.reward_topology,
    "rewardbench2": protocols.rewardbench2,
    "rewardmath": protocols.rewardmath,
    "rm_consistency": matching.rm_consistency,
    "rm_consistency_convex": hull_pairs.rm_consistency_convex,
    "rm_ensembles": ensembles.rm_ensembles,
    "rm_ensembles_unbounded": ensembles.rm_ensembles,
    "scan_prm": step_labels.scan_prm,
    "secrets_rm": noisy_pairs.secrets_rm,
    "secrets_rm_meta": meta_pairs.secrets_rm_meta,
    "social_reward": matching.social_reward,
    "t2i_reward_hacking": pictures.t2i_reward_hacking,
    "video_reward": video.video_reward,
    "video_reward_flow": video.video_reward_flow,
    "vl_rewardbench": votes.vl_rewardbench,
    "vpl": latent.vpl,
}

run = functools.partial(study_command.run, STUDIES, "reward_study")


def main(argv):
  del argv
  study_command.main(STUDIES, "reward_study")


if __name__ == "__main__":
  study_command.define_flags("reward_study")
  flags.adopt_module_key_flags(study_command)  # or --help hides them
  app.run(main, flags_parser=commands.parse_flags)
