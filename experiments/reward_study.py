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
    ensembles,
    experts,
    frontier,
    graphs,
    heads,
    herding,
    latent,
    matching,
    noisy_pairs,
    preference_noise,
    values,
)

STUDIES = {
    "basereward": heads.basereward,
    "crm": noisy_pairs.crm,
    "dmoerm": experts.dmoerm,
    "frontier": frontier.frontier,
    "helping_or_herding": herding.helping_or_herding,
    "helpsteer2_preference": heads.helpsteer2_preference,
    "optdist": values.optdist,
    "reward_topology": graphs.reward_topology,
    "oprm": latent.oprm,
    "pal": latent.pal,
    "preference_noise": preference_noise.preference_noise,
    "secrets_rm": noisy_pairs.secrets_rm,
    "rm_consistency": matching.rm_consistency,
    "social_reward": matching.social_reward,
    "rm_ensembles": ensembles.rm_ensembles,
    "rm_ensembles_unbounded": ensembles.rm_ensembles,
    "vpl": latent.vpl,
}

run = functools.partial(study_command.run, STUDIES, "reward_study")


def main(argv):
  del argv
  study_command.main(STUDIES, "reward_study")


if __name__ == "__main__":
  study_command.define_flags("reward_study")
  app.run(main, flags_parser=commands.parse_flags)
