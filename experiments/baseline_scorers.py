"""Scorers that no benchmark should reward: what a model must beat."""


def length(prompts, completions, **columns):
  """Longer is better, in characters."""
  del prompts, columns
  return [float(len(text)) for text in completions]


def brevity(prompts, completions, **columns):
  """Shorter is better."""
  return [-x for x in length(prompts, completions, **columns)]


def overlap(prompts, completions, **columns):
  """The share of a completion's words that its prompt has."""
  del columns
  scores = []
  for prompt, text in zip(prompts, completions):
    words, known = text.lower().split(), set(prompt.lower().split())
    scores.append(sum(word in known for word in words) / max(len(words), 1))
  return scores
