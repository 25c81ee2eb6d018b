"""ROUGE-L: the longest common subsequence of words."""

from spearhead.metrics.overlap import Rouge

METRIC = Rouge("rouge", "rougeL")
