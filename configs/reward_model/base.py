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
      # Above 0: so many levels, equal parts of `scale` and of the grades, for
      # pairs with `chosen_rating` and `rejected_rating`. Grades must lie in
      # the levels of both ("block"), or in the triangle that spans ("flood").
      levels=0,
      regions="flood",
      scale=(1.0, 5.0),  # of ratings
      until_first_error=False,  # of "prm": steps behind it are not learned
  )
  # Of "bradley_terry": "forward" (likelihood of the label), "backward"
  # (unbiased), "small_loss" (leaves out a share `false_positive` of a batch),
  # "co_teaching" (that, and members in twos choose for each other), "relabel".
  config.noise = dict(
      name="none",
      # Instead of the rates given here: from the field `gold` of some rows, or
      # --trusted ("gold"), from pairs that one name has labelled twice
      # ("repeats"), from pairs that three or more share ("annotators").
      estimate="given",
      symmetric=True,  # False: both rates, of "gold" and rows of kind "ties"
      prior=(1.0, 1.0),  # labels (wrong, right) that "gold" starts with
      # P(label 1 | the second is better), P(label 0 | the first is better).
      false_positive=0.0,
      false_negative=0.0,
      by="",  # "annotator", "source": rates by the name in that field
      rates=mlc.ConfigDict(),  # name -> rate, or (false_positive, ..negative)
      min_youden=0.05,
      warmup=100.0,  # steps, until the whole share is left out
  )
  # An ensemble, trained briefly, tells how far it agrees with each label.
  # Of "quantiles", by mean + std_weight * std of its margins: the share `flip`
  # of the lowest is turned round, `drop` above them left out, `soften` of the
  # highest gets the target 1 - smoothing; margins are margin_scale times it.
  # Of "agreement": the target is the mean probability of the members.
  config.relabel = dict(
      members=5,
      num_steps=100,
      labels="quantiles",
      flip=0.2,
      drop=0.0,
      soften=0.1,
      smoothing=0.1,
      margin_scale=0.0,
      std_weight=0.0,
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
      scan_layers=False,  # one program for all layers: many compile sooner
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
      rated=0.0,  # share of the pairs with ratings
      labels=1,  # of each pair, by different annotators
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
    config.relabel.members, config.relabel.num_steps = 2, 4
    config.score_batch = 8
  return config
