"""A wrong config is one line that names the field, before anything compiles."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import pytest

from configs.rlvr import base, constant_rates, noisy_verifier, quests, soar
from experiments import rlvr_checks, rlvr_config


def tiny(arms=None, **changes):
  config = base.get_config("tiny")
  config.update(changes)
  if arms is not None:
    config.arms = arms
  return config


@pytest.mark.parametrize(
    "module", [base, constant_rates, noisy_verifier, quests, soar]
)
@pytest.mark.parametrize("size", ["small", "tiny"])
def test_committed_configs_are_valid(module, size):
  config = module.get_config(size)
  assert list(rlvr_config.arm_configs(config)) == sorted(config.arms)


def test_configs_refuse_unknown_sizes():
  with pytest.raises(ValueError, match="size must be 'small' or 'tiny'"):
    base.get_config("large")


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            dict(credit=dict(estimator="grpo")),
            r"config\.credit\.estimator must be one of .*standardized.*'grpo'",
        ),
        (
            dict(surrogate=dict(name="ppo")),
            r"config\.surrogate\.name must be one of score, clipped, detached",
        ),
        (dict(reducer="mean"), r"config\.reducer must be one of token_mean"),
        (
            dict(verifier=dict(name="judge")),
            r"config\.verifier\.name must be one of tokens, exact_match",
        ),
        (
            dict(regularizer=dict(kl_estimator="k4")),
            r"config\.regularizer\.kl_estimator must be one of k1, k2, k3",
        ),
        (
            dict(noise=dict(false_positive=(1.2,))),
            r"noise\.false_positive must be in \[0, 1\], got 1\.2",
        ),
        (
            dict(noise=dict(false_positive=(0.6,), false_negative=(0.4,))),
            r"config\.noise: false_positive \+ false_negative must be below 1",
        ),
        (
            dict(correction=dict(false_negative=(0.1, 0.2))),
            r"config\.correction\.false_negative must hold one rate, or one "
            r"for each of config\.task\.kinds",
        ),
        (
            dict(sampling=dict(group_size=1)),
            r"config\.sampling\.group_size must be at least 2 for "
            r"config\.credit\.estimator 'leave_one_out', got 1",
        ),
        (dict(num_seeds=0), r"num_seeds must be in \[1, inf\], got 0"),
        (dict(appeals=dict(fraction=2.0)), r"appeals\.fraction must be in"),
        (
            dict(verifier=dict(name="trl", function="no_such_module:f")),
            r"config\.verifier\.function must be package\.module:function",
        ),
        (dict(num_microbatches=3), r"config\.num_microbatches must divide"),
        (dict(num_steps=5), r"config\.log_every must divide config\.num_steps"),
        (dict(checkpoint_every=3), r"config\.checkpoint_every must be a multi"),
        (dict(agents="pmap"), r"config\.agents must be one of vmap, scan"),
        (
            dict(lora=dict(rank=4)),
            r"config\.lora\.rank = 4 needs a pretrained model: set "
            r"config\.model\.pretrained",
        ),
        (dict(lora=dict(rank=-1)), r"lora\.rank must be in \[0, inf\], got -1"),
        (dict(task=dict(chat=True)), r"config\.task\.chat = True needs a pre"),
        (
            dict(task=dict(tokenizer="pretrained")),
            r"config\.task\.tokenizer = 'pretrained' needs a pretrained model",
        ),
        (
            dict(model=dict(pretrained="smollm2")),
            r"config\.task\.tokenizer must be 'pretrained' for a pretrained",
        ),
        (
            dict(
                model=dict(pretrained="smollm2"),
                task=dict(tokenizer="pretrained", suffix="!"),
            ),
            r"config\.task\.suffix are read with config\.task\.chat=True only",
        ),
        (dict(sampling=dict(lanes=-1)), r"sampling\.lanes must be in"),
        (dict(sampling=dict(halvings=-1)), r"sampling\.halvings must be in"),
        (dict(evaluation=dict(num_samples=-1)), r"evaluation\.num_samples mus"),
        (
            dict(off_policy=dict(correction="clipped")),
            r"config\.off_policy\.correction must be one of .*; got 'clipped'",
        ),
        (
            dict(off_policy=dict(level="prompt")),
            r"config\.off_policy\.level must be one of token, ",
        ),
        (
            dict(compute_dtype="float17"),
            r"config\.compute_dtype must be one of .*bfloat16.*; got 'float17'",
        ),
        (dict(asynchronous=dict(lag=-1)), r"asynchronous\.lag must be in"),
        (
            dict(asynchronous=dict(lag=1), surrogate=dict(name="score")),
            r"config\.asynchronous\.lag = 1 .* config\.off_policy\.correction",
        ),
        (
            dict(criterion=dict(over="best")),
            r"config\.criterion\.over must be one of baseline, start",
        ),
        (
            dict(criterion=dict(arm="none")),
            r"config\.criterion\.arm must be one of config\.arms \['single'\]",
        ),
        (
            dict(baseline="none"),
            r"config\.baseline must be one of config\.arms \['single'\]",
        ),
        (
            dict(criterion=dict(arm="single")),
            r"config\.criterion\.arm must be another than the baseline",
        ),
        (
            dict(verifier=dict(unparsable="maybe")),
            r"config\.verifier\.unparsable must be one of wrong, invalid",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_wrong_values_name_their_field(changes, message):
  """Pains 42 and 44: choices and group sizes are checked, from one list."""
  with pytest.raises(ValueError, match=message) as error:
    rlvr_config.arm_configs(tiny(**changes))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["name", "trusted"])
def test_text_is_judged_on_one_process_only(monkeypatch, field):
  config = tiny(verifier=dict(name="tokens", trusted="tokens"))
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  rlvr_checks.check_processes([config])
  config.verifier[field] = "numeric"
  with pytest.raises(ValueError, match=f"{field} must be 'tokens' on 2 proc"):
    rlvr_checks.check_processes([config])


def test_a_config_is_checked_before_the_backend_starts():
  """The command splits the CPU into devices only after that."""
  program = """
      import jax
      from configs.rlvr import base
      from experiments import commands, rlvr_config
      rlvr_config.arm_configs(base.get_config("tiny"))
      commands.use_cpu_devices(2)
      assert jax.device_count() == 2
  """
  program = [sys.executable, "-c", textwrap.dedent(program)]
  environment = dict(os.environ, XLA_FLAGS="")
  done = subprocess.run(program, env=environment, capture_output=True)
  assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_rates_per_kind_may_be_worse_than_a_coin():
  """One liar for all with J <= 0 is a mistake; on one kind it is a fact."""
  rates = dict(
      false_positive=(0.0, 0.0, 0.7), false_negative=(0.0, 0.0, 0.7)
  )
  rlvr_config.arm_configs(tiny(noise=rates))


@pytest.mark.parametrize(
    "arm, message",
    [
        (dict(noises=dict()), r"config\.arms\.one\.noises is no field; choose"),
        (dict(noise=dict(rate=0.1)), r"config\.arms\.one\.noise\.rate is no"),
        (dict(seed="0"), r"config\.arms\.one: .*seed"),
        (dict(model=dict(width=8)), r"arms\.one\.model cannot be changed"),
    ],
)
def test_wrong_arms_name_their_field(arm, message):
  with pytest.raises(ValueError, match=message):
    rlvr_config.arm_configs(tiny(arms=dict(one=arm)))


def test_an_arm_says_when_its_correction_can_change_nothing():
  config = constant_rates.get_config("tiny")
  arms = rlvr_config.arm_configs(config)
  assert rlvr_config.no_op_reason(arms["backward"])
  assert rlvr_config.no_op_reason(arms["uncorrected"]) is None
  assert rlvr_config.no_op_reason(arms["denoised"]) is None
  arms = rlvr_config.arm_configs(noisy_verifier.get_config("tiny"))
  assert rlvr_config.no_op_reason(arms["backward"]) is None


def test_arms_share_a_program_unless_they_differ_in_what_is_costly():
  config = tiny(
      arms=dict(
          a=dict(),
          b=dict(correction=dict(name="backward")),
          c=dict(surrogate=dict(name="score"), reducer="token_mean"),
          d=dict(credit=dict(name="gae")),
          e=dict(updates_per_batch=2),
          f=dict(recipe=dict(name="grpo")),
          g=dict(recipe=dict(name="lp_reg", options=dict(min_p=0.1))),
          h=dict(recipe=dict(name="ppo")),
          i=dict(recipe=dict(name="rloo", options=dict(kl_coefficient=0.1))),
      )
  )
  groups = rlvr_config.group_arms(rlvr_config.arm_configs(config))
  assert [list(group) for group in groups] == [
      ["a", "b", "c", "f"], ["d", "h"], ["e"], ["g"], ["i"]
  ]


def test_a_workdir_belongs_to_one_config(tmp_path):
  """Pain 34: resuming with other settings is refused, not half obeyed."""
  rlvr_config.claim_workdir(tiny(), tmp_path)
  rlvr_config.claim_workdir(tiny(), tmp_path)
  assert json.loads((tmp_path / "config.json").read_text())["num_seeds"] == 2
  other = tiny(optimizer=dict(learning_rate=0.5))
  with pytest.raises(ValueError, match=r"config\.optimizer\.learning_rate"):
    rlvr_config.claim_workdir(other, tmp_path)


def test_a_reward_beside_the_verdict_makes_its_scale_matter():
  config = constant_rates.get_config("tiny")
  config.beside.format.weight = 0.1
  arms = rlvr_config.arm_configs(config)
  assert rlvr_config.no_op_reason(arms["backward"]) is None
