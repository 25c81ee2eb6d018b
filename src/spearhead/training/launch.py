"""Who this process is among those that train together, as `torchrun` says it in the environment. Imports no torch."""

import os


def world() -> int:
    """How many processes there are; one where nothing is said."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "MASTER_ADDR" in os.environ else 1


def rank() -> int:
    """Which of them this is; the first, 0, alone writes."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0
