"""Rows of methods about data, its noise, curricula and learned rewards."""

from experiments.methods_rows import Method

METHODS: tuple[Method, ...] = (
    Method(
        slug="tint_cot_noise",
        title="Traced integers with corrupted working",
        paper=(
            "Understanding the Effect of Noise in LLM Training Data with "
            "Algorithmic Chains of Thought (TInt)"
        ),
        functions=(
            "data.traced_integers.TracedIntegers",
            "data.traces.run",
            "data.traces.replace_symbols",
            "data.traces.delete_symbols",
            "data.traces.swap_lines",
            "data.builders.traced_integers.TracedIntegers",
        ),
        tests=(
            "tests/data/test_traces.py",
            "tests/data/test_traced_integers.py",
        ),
        shown=(
            "Every program is right on every input; dynamic noise reaches the "
            "answer at the rate of its closed form; static noise at full "
            "strength keeps every answer; rate 0 changes nothing."
        ),
        differs=(
            "The programs and their text are ours. A symbol is drawn anew "
            "from all symbols, so it changes with chance intensity * (base - "
            "1) / base. Line ends and the answer are never noised statically."
        ),
    ),
)
