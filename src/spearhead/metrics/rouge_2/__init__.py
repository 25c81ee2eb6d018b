"""ROUGE-2: shared pairs of words."""

from spearhead.metrics.overlap import Rouge

METRIC = Rouge("rouge_2", "rouge2")
