"""ROUGE-1: shared words."""

from spearhead.metrics.overlap import Rouge

METRIC = Rouge("rouge_1", "rouge1")
