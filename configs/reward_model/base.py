"""Every field of `experiments.reward_model`.

Other configs start from this one and change a few fields; `pairs.py` is this
one by its own name.
Run: python -m experiments.reward_model --config=configs/reward_model/base.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.title = "A reward model from comparisons"
  config.slug = "reward_model"  # of runs/
  config.kind = "pairs"  # "ties", "ratings", "rankings", "steps"
  config.seed = 0
  config.num_steps = 400  # at most
  config.batch_size = 32  # rows of a step, of each member
  config.num_microbatches = 1
  config.log_every = 20  # a row of metrics, and a look at the held-out rows
  config.checkpoint_every = 100
  # Looks without gain until a member stops; 0: never. The parameters of the
  # best look are kept in any case.
  config.patience = 5
  config.held_out = 0.1  # share of the prompts, to stop by and to calibrate
  config.test = 0.1  # share of the prompts, to measure on

  # Members are trained side by side, each as if it were alone. `share`:
  # "none", or "encoder", whose values all take from the first to start with.
  config.members = 1
  config.first_member = 0  # of an ensemble that is trained in parts
  config.share = "none"
  # How members make one score: "mean", "median", "min", "mean_minus_std",
  # "mean_minus_variance".
  config.aggregate = dict(name="mean", coefficient=1.0)
  # Above 0: each user is a mixture of so many rewards (rows with `user`).
  config.prototypes = 0

  config.loss = dict(
      name="bradley_terry",  # pairs, ties: "ordinal", "rao_kupper"; ratings:
      # "regression"; rankings: "listwise"; steps: "prm", "orm"
      beta=1.0,  # nats per reward unit
      smoothing=0.0,  # share of labels taken as wrong, without a correction
      strength="none",  # what the field `strength` is: "margin", "weight"
      strength_scale=1.0,
      centre=0.01,  # weight of the penalty that pins the offset of rewards
      tie_factor=0.0,  # of "rao_kupper", above 1; 0: fitted
      grades=5,  # of "ordinal"
      scale=(1.0, 5.0),  # of ratings
      until_first_error=False,  # of "prm": steps behind it are not learned
  )
  # Of "bradley_terry": "forward" (likelihood of the label), "backward"
  # (unbiased), "small_loss" (leaves out a share `false_positive` of a batch).
  config.noise = dict(
      name="none",
      # P(label 1 | the second is better), P(label 0 | the first is better).
      false_positive=0.0,
      false_negative=0.0,
      by="",  # "annotator", "source": rates by the name in that field
      rates=mlc.ConfigDict(),  # name -> rate, or (false_positive, ..negative)
      min_youden=0.05,
      warmup=100.0,  # steps, of "small_loss"
  )

  config.model = dict(
      pretrained="",  # "smollm2", a .gguf file or a folder: sizes are its own
      chat=False,  # asks by its chat template
      width=48,
      num_layers=2,
      num_heads=4,
      num_kv_heads=2,
      mlp_width=96,
      head_widths=(),  # hidden layers of the reward head
      dtype="float32",  # of activations
      remat=False,
  )
  config.lora = dict(rank=8, scale=1.0, match=("query", "value"))  # pretrained
  config.compute_dtype = ""  # "bfloat16": of parameters inside the loss
  config.text = dict(
      separator="\n",  # between prompt and completion
      max_length=0,  # tokens of both; 0: no limit
      too_long="error",  # "cut": from the front of the prompt
  )
  config.packing = True  # several texts in a row of tokens
  config.share_prompts = True  # what a row's texts begin with is computed once
  config.steps = dict(separator="\n\n", how="min")  # rewards.steps
  config.score_batch = 16  # completions scored at a time

  config.optimizer = dict(
      learning_rate=3e-3,
      warmup_steps=20,
      b1=0.9,
      b2=0.99,
      weight_decay=0.01,
      max_grad_norm=1.0,
  )
  # Devices; -1 takes what is left. `data` splits batches, `fsdp` both.
  config.mesh = dict(data=1, fsdp=1, tensor=1)

  # What is trained on without --data: see experiments/reward_model_sample.py.
  config.sample = dict(
      num_prompts=600,
      rows_per_prompt=4,
      min_length=4,
      max_length=16,
      annotators=mlc.ConfigDict(dict(ada=0.0, bob=0.1)),  # shares of flips
      users=(),  # every other one wants the opposite
      tie_below=0.5,
  )
  if size == "tiny":
    config.num_steps, config.log_every, config.checkpoint_every = 8, 2, 4
    config.batch_size = 8
    config.model.width, config.model.mlp_width = 16, 24
    config.model.num_layers, config.model.num_heads = 1, 2
    config.model.num_kv_heads = 1
    config.sample.num_prompts = 24
    config.held_out = config.test = 0.25
    config.optimizer.warmup_steps = 0
    config.score_batch = 8
  return config
