"""Measures of what was generated: one folder a metric, each exporting `METRIC` (see `core.score.Metric`).

`evaluate.py` gives scores with intervals, `baselines.py` the trivial answers to beat. Knows nothing of how the outputs
were made.
"""
