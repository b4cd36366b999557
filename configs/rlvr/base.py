"""Every field of `experiments.rlvr`, with the sizes of the arithmetic task.

Other configs start from this one and change a few fields.
Run: python -m experiments.rlvr --config=configs/rlvr/base.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.title = "Policy gradients on arithmetic"
  config.path = "configs/rlvr/base.py"
  config.slug = "rlvr"  # of runs/ and docs/results/
  # The arm that the others are compared with; "": the one with the name
  # "uncorrected", or the first in the order of the alphabet.
  config.baseline = ""
  # Decided before the run: does the interval of the gain of `arm` lie within
  # (low, high)? Over the "baseline", or over the "start", the policy before
  # training.
  config.criterion = dict(
      text="none", arm="", over="baseline", low=-1.0, high=1.0
  )
  config.seed = 0
  config.num_seeds = 5  # trained together, by vmap
  config.num_steps = 200
  config.log_every = 10
  config.checkpoint_every = 50

  # Arms and seeds: "vmap", all at once; "scan", in the memory of one.
  config.agents = "vmap"

  # "arithmetic" makes problems; "jsonl" reads prompts and answers at `path`;
  # "reasoning_gym" mixes the data sets that `kinds` names; "traced_integers"
  # shows its working, `kinds` are programs (tokenizer="byte"); "quests" takes
  # several turns, between which a world answers, and success is the verdict
  # (kinds=("quest",), tokenizer="byte", answer_length=3 turns).
  config.task = dict(
      name="arithmetic",
      path="",
      datasets=dict(),  # parameters of each kind, of "reasoning_gym"
      seed=0,
      num_train=2000,
      num_held_out=500,
      held_out_share=0.0,  # of all problems, never trained on; 0: draw anew
      kinds=("add", "subtract", "multiply"),
      num_operations=1,
      max_operations=0,  # up to so many, drawn per problem; 0: always as above
      max_operand=5,
      fractions=False,  # half of the operands are fractions
      powers=(1,),  # operands are raised to one of these
      max_denominator=1,  # 0: no limit
      answer_noise=0.0,  # share of wrong references, to train on only
      # Of "traced_integers"; noise "static" or "dynamic" is in the working
      # that the warm-up imitates: see data.traced_integers.
      traced=dict(
          base=5,
          length=3,
          redundancy=0,
          noise="none",
          kind="replace",  # of static noise: "delete", "swap"
          rate=1.0,
          intensity=0.0,
      ),
      # Turns of an episode at most; 0: there is one, without a world.
      turns=0,
      # Rooms on a side, objects in them, and how many of these are asked for.
      quests=dict(width=2, objects=2, length=1),
      # What stands between working and answer, as in "2;3;=3": verifiers read
      # what follows the last of these. "": all of a completion is its answer.
      answer_mark="",
      # A second wording of every prompt, trained on in pairs: "swapped"
      # operands, or a text with one {} for the first. "": none.
      rewording="",
      prompt_length=6,
      answer_length=4,  # the stop token included
      tokenizer="char",  # "byte", or "pretrained": the model's own
      chat=False,  # asks by the chat template of a pretrained model
      system="",
      suffix="",  # after every problem
  )
  # A name that models.pretrained knows, a .gguf file or a folder; then the
  # sizes below, from width to tied, are the checkpoint's.
  config.model = dict(
      pretrained="",
      width=48,
      num_layers=2,
      num_heads=4,
      num_kv_heads=4,
      mlp_width=96,
      tied=True,
      scan_layers=False,
      remat=False,
      dtype="float32",
  )
  config.compute_dtype = ""  # of the update; "": as the parameters
  # Trains low-rank updates of a pretrained model, which stays as it is.
  config.lora = dict(
      rank=0,  # 0: trains all parameters
      scale=1.0,
      match=("attention", "mlp"),  # parts of the paths of adapted kernels
  )
  # Supervised steps on reference answers before reinforcement begins; 0
  # starts from the policy as it was drawn. None for a pretrained model.
  config.warm_up = dict(num_steps=40, batch_size=64, learning_rate=3e-3)
  # Which kinds come next. "none": as in the data; "ucb": by a bandit over
  # how far samples are from their group's mean (DUMP); "stages": kind k from
  # the k-th boundary on, a step.
  config.curriculum = dict(
      name="none",
      window=300,  # samples of a kind that the bandit remembers
      temperature=0.1,
      exploration=1.0,
      boundaries=(),
  )
  # Who writes the problems to learn from. "none": they come from the data;
  # "soar": a teacher, the same model with parameters of its own, writes a set
  # for each of several students, copies of the agent, and is paid by what
  # they gain on problems of the data (SOAR). A step is then one of the
  # teacher's; verifiers must read tokens.
  config.teacher = dict(
      name="none",
      prompt="",  # what it is asked; "": the beginning of a text
      # Between problem and answer of what it writes, as tokens of its own.
      separator="=",
      keeps_separator=True,  # whether students read it, after the problem
      length=12,  # of a text in tokens, the stop token included
      temperature=1.0,  # of its samples
      students=4,  # sets of problems, and who learns from them
      repeats=1,  # students of a set; their mean gain pays
      set_size=16,  # problems
      inner_steps=4,  # of a student, each on its whole set
      hard_size=32,  # problems of the data that a step measures gains on
      hard_kinds=(),  # kinds of these; (): all
      # The best student becomes the agent once the mean gain, averaged over
      # steps with this decay, exceeds the threshold.
      threshold=0.01,
      decay=0.5,
      estimator="leave_one_out",  # of sets: "centered", "standardized"
      learning_rate=1e-3,
      # Supervised steps on problems of the data, as the teacher would write
      # them; of kinds that are not hard, where there are some.
      warm_up=dict(num_steps=0, batch_size=64, learning_rate=3e-3),
  )
  config.sampling = dict(
      batch_size=32,  # prompts
      group_size=8,  # samples of a prompt
      temperature=1.0,
      top_k=0,  # 0: off
      top_p=1.0,  # 1: off
      max_refills=0,  # dynamic sampling: fresh batches to replace dead groups
      halvings=0,  # how often the batch may shrink when half has stopped
      lanes=0,  # rows that a prompt's completions are packed into; 0: off
      # "beam" draws nothing: a group is the likeliest of all answers of the
      # task, in order (ReRe, with reward.name="ranks")
      search="none",
      parts=1,  # of a group, drawn one after the other: memory of wide groups
      mass_balance=False,  # log where a step moves the mass of right samples
  )
  # Where the trusted verifier reads text. Token verifiers need no sample.
  config.evaluation = dict(
      num_samples=0,  # of each held-out problem; 0: group_size
      greedy=False,
      pass_at=(),  # k of every pass@k to be logged, such as (4, 8)
  )
  # "tokens" is compiled; the others read text on the host: "exact_match",
  # "strict", "strict_ending", "numeric", "closeness", "math_verify",
  # "multiple_choice", graded "tool_calls" (ToolRL), "routes" (RewardMap) and
  # "form" (of the reasoning), and "trl" or "tunix" functions at `function`.
  # The trusted one judges appeals and the metrics, never the policy.
  config.verifier = dict(
      name="tokens",
      trusted="tokens",
      function="",  # package.module:function
      tolerance=0.0,  # relative, of "numeric"
      unparsable="wrong",  # or "invalid": unknown, left out
      timeout_s=10.0,  # per chunk of completions
      num_workers=1,
      chunk_size=64,
      memory_mb=0,  # that a worker may take; 0: no limit
  )
  # What the policy is paid for. "verifier"; without it: "majority", agreement
  # with most of the group; "twin", with most of the other wording's group
  # (Co-Reward; task.rewording); "likelihood" of the reference answer after the
  # working, under the policy that sampled; "ranks", the verdict and the places
  # of wrong answers before a right one. As controls: "format", any answer
  # that can be read; "random"; "inverted". The trusted verifier stays for the
  # metrics.
  config.reward = dict(
      name="verifier",
      votes="tokens",  # what makes two answers equal; "numbers": their value
      # "log_prob", "mean_log_prob", "prob", "geometric", "mean_prob" (RLPR);
      # "jensen": what a sample adds to the bound of its group (JEPO)
      likelihood="mean_prob",
      debias=False,  # less that of the answer without working (RLPR)
  )
  # Rewards that are added to it, by weight; 0: off. A gate lets one count
  # only where the observed outcome has "reached" the threshold, or "missed".
  off = dict(weight=0.0, gate="always", threshold=1.0)
  config.beside = dict(
      form=dict(off),  # phrases of reasoning, read on the host
      format=dict(off),  # any answer that can be read
      likelihood=dict(off),
      majority=dict(off),
  )
  # Scores of steps, for recipes that read them: OPRL, TP-GRPO, PPR, RLFR, ...
  # The policy's: "likelihood" of the reference answer after each step,
  # "progress" of that, "reference", log-ratios to its first version. Models
  # that learn on line from the observed outcomes: "process", a language model
  # with implicit rewards (OPRL); heads on the policy's states for the
  # "outcome" by tokens (OREAL), as "judge" of each step, or for "returns"
  # that sum to the outcome (LaRe); a "flow" over the states (RLFR).
  config.steps = dict(
      scorer="none",
      separator="",  # text that ends a step; "": steps are `every` tokens
      every=1,
      most=8,  # steps that separators make; the last one takes the rest
      threshold=0.5,  # from which score on a step counts as right (TP-GRPO)
      hidden=32,  # width of a head, 0 reads linearly; of the flow
      learning_rate=1e-3,  # of the scorer's own Adam
      max_grad_norm=10.0,
      # What a head sees of a token instead of states: expressions of obs, its
      # place and the token before, and act, the token and its log-prob.
      factors=(),
      subset=0,  # steps drawn for the loss of "returns"; 0: all
      time=0.8,  # of the "flow": where it is read, 1 is a state itself
      draws=4,  # of its noise
  )
  # A simulated liar: one rate for all, or one for each of task.kinds.
  config.noise = dict(
      name="none",  # or "binary"
      false_positive=(0.0,),
      false_negative=(0.0,),
      per_group=False,  # one draw for a whole group
  )
  config.correction = dict(
      name="none",  # "backward", "forward", "mirror"
      rates="noise",  # the simulated ones; "given" below; "appeals"
      false_positive=(0.0,),
      false_negative=(0.0,),
      min_youden=0.05,
  )
  # On-line rates: a trusted judge rechecks a random share of the verdicts.
  config.appeals = dict(
      fraction=0.25,  # of rejected samples
      audit_fraction=0.25,  # of accepted samples
      decay=0.98,
      alpha=1.0,  # of the Beta prior of both rates: 0.2 before any recheck
      beta=4.0,
      overrule=False,  # learn from the judge's answers too
  )
  # A paper in place of credit, surrogate, reducer and regularizer: "grpo",
  # "rloo", "dapo", ...; experiments/rlvr_recipes.py lists all. Options are
  # the keywords of its functions, such as dict(clip_high=0.3); those left
  # out are the paper's. The papers on steps need a steps.scorer.
  config.recipe = dict(name="", options=dict())
  # Whether amft learns its weight, from what the next batch says (AMFT);
  # `recipe.options.weight` is then the first one.
  config.imitation = dict(
      learned=False,
      step_size=10.0,
      largest_change=0.05,  # of one step
      low=0.02,
      high=0.98,
      entropy_step=0.0,  # change per nat per token that entropy is lacking
      entropy_target=0.0,
  )
  config.credit = dict(
      name="group",  # "return", "gae"
      estimator="leave_one_out",
      baseline=0.0,
      epsilon=1e-6,
      ddof=1,
      whiten=False,
      discount=1.0,
      decay=0.95,
  )
  config.shaping = dict(
      tiers=0,  # graded outcomes, rounded up to k / tiers; 0: off
      # With rewards beside it: their weighted "sum", or each "normalized" in
      # its group first (GDPO; with credit.estimator="none").
      combine="sum",
      overlong_buffer=0,  # tokens; 0: off
      overlong_factor=1.0,
      missing_stop=0.0,
      # Of a wrong sample that is shorter than its group's right ones (HARMO),
      # all of it from this share of their mean length on; 0: off.
      short_penalty=0.0,
      short_tolerance=1.0,
      # Of several turns: success is paid at the end, "sparse", or by what each
      # turn gained, "dense": "ppo" and credit.name "gae" or "return" pay it
      # on that turn, recipes on groups as a sum.
      turns="sparse",
      # Groups whose rewards spread less than `factor` of what was usual leave
      # the loss, once `after` batches are known (RLPR: 0.5); 0: none does.
      spread=dict(factor=0.0, decay=0.99, after=5),
  )
  config.surrogate = dict(
      name="clipped",  # "score", "detached"
      ratio="token",  # "sequence", "sequence_mean"
      clip_low=0.2,
      clip_high=0.2,
      dual_clip=0.0,  # 0: off
  )
  config.reducer = "sequence_sum_mean"
  config.regularizer = dict(
      kl_in_reward=0.0,  # reward units per nat of k1
      kl_coefficient=0.0,  # loss units per nat
      kl_estimator="k3_straight_through",
      entropy_coefficient=0.0,
      value_coefficient=0.5,
      value_clip=0.2,
  )
  config.optimizer = dict(
      learning_rate=2e-3, max_grad_norm=1.0, b1=0.9, b2=0.99, weight_decay=0.0
  )
  # Weights for samples of another law than the trainer's: see
  # recipes.decoupled.
  config.off_policy = dict(
      correction="none",  # "truncated", "masked"
      level="token",  # "sequence", "geometric"
      cap=2.0,
  )
  config.updates_per_batch = 1
  config.num_microbatches = 1
  config.mesh = dict(data=1, fsdp=1, tensor=1)
  # Devices beside the mesh that only sample, and how many steps older than
  # the learner their parameters are; nothing is asynchronous with 0 and 0.
  config.asynchronous = dict(lag=0, sampler_devices=0)
  # Side by side: each arm changes fields of this config.
  config.arms = dict(single=dict())
  if size == "tiny":  # what the tests run
    config.update(
        dict(
            num_seeds=2,
            num_steps=4,
            log_every=2,
            checkpoint_every=2,
            task=dict(num_train=64, num_held_out=16),
            model=dict(width=16, num_layers=1, num_kv_heads=2, mlp_width=32),
            warm_up=dict(num_steps=4, batch_size=8),
            sampling=dict(batch_size=4, group_size=4),
        )
    )
  return config
