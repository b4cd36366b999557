"""Studies of learned rewards, on data whose true reward is known.

Run: python -m experiments.reward_study --config=configs/reward_study/<name>.py
Writes config.json, metrics.jsonl, report.html and figures/ to the run
directory, and docs/results/<slug>.json with --write_results. A criterion that
is not met is a result, not an error.
"""

import functools

from absl import app

from experiments import commands, study_command
from experiments.reward_studies import (
    control,
    critiques,
    driving,
    failures,
    goals,
    hybrid,
    lengths,
    music,
    pictures,
    policies,
    probes,
    protocols,
    segments,
    step_judges,
    step_labels,
    step_pairs,
    step_trees,
    video,
    votes,
)

STUDIES = {
    "ctrl_u": control.ctrl_u,
    "fgaif": segments.fgaif,
    "gen_drive": driving.gen_drive,
    "goal_conditioned_rm": goals.goal_conditioned_rm,
    "grounded_prm": step_trees.grounded_prm,
    "harmo": hybrid.harmo,
    "hrm": step_pairs.hrm,
    "ixc_reward": lengths.ixc_reward,
    "m_rewardbench": protocols.m_rewardbench,
    "mm_rlhf": critiques.mm_rlhf,
    "mrmbench": probes.mrmbench,
    "multi_rm": step_judges.multi_rm,
    "music_rl": music.music_rl,
    "polar": policies.polar,
    "reform": failures.reform,
    "rewardbench2": protocols.rewardbench2,
    "rewardmath": protocols.rewardmath,
    "scan_prm": step_labels.scan_prm,
    "t2i_reward_hacking": pictures.t2i_reward_hacking,
    "video_reward": video.video_reward,
    "video_reward_flow": video.video_reward_flow,
    "vl_rewardbench": votes.vl_rewardbench,
}

run = functools.partial(study_command.run, STUDIES, "reward_study")


def main(argv):
  del argv
  study_command.main(STUDIES, "reward_study")


if __name__ == "__main__":
  study_command.define_flags("reward_study")
  app.run(main, flags_parser=commands.parse_flags)
