"""Data sets in the array_record format, through tfds without tensorflow.

builder = preparation.prepare(random_calculation.RandomCalculation, config)
source = builder.as_data_source(split="train")
"""
