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
    critiques,
    failures,
    lengths,
    probes,
    protocols,
    segments,
    step_judges,
    step_labels,
    step_pairs,
    step_trees,
    votes,
)

STUDIES = {
    "fgaif": segments.fgaif,
    "mm_rlhf": critiques.mm_rlhf,
    "mrmbench": probes.mrmbench,
    "ixc_reward": lengths.ixc_reward,
    "vl_rewardbench": votes.vl_rewardbench,
    "rewardmath": protocols.rewardmath,
    "rewardbench2": protocols.rewardbench2,
    "m_rewardbench": protocols.m_rewardbench,
    "hrm": step_pairs.hrm,
    "grounded_prm": step_trees.grounded_prm,
    "reform": failures.reform,
    "multi_rm": step_judges.multi_rm,
    "scan_prm": step_labels.scan_prm,
}

run = functools.partial(study_command.run, STUDIES, "reward_study")


def main(argv):
  del argv
  study_command.main(STUDIES, "reward_study")


if __name__ == "__main__":
  study_command.define_flags("reward_study")
  app.run(main, flags_parser=commands.parse_flags)
