"""spearhead: one generation scenario from licensed data to a labelled, measured, billed answer."""

__version__ = "0.1.0"
