"""The road: data, baselines, training, evaluation, release, report; each step resumable, none done twice."""
