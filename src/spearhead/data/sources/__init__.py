"""Places that data come from, a folder each; see `data/items.py` for what a folder exports."""
