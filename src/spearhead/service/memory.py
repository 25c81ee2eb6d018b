"""How much memory serving takes: this process and the processes that hold models. Knows no limit."""

import psutil

from spearhead.engine.run import Engine


def resident(engine: Engine) -> dict[str, int]:
    """Resident bytes by part: `service`, and each release's runtime by its name."""
    parts = {"service": int(psutil.Process().memory_info().rss)}
    for loaded in set(engine.releases.values()):
        parts[loaded.manifest.name] = loaded.runtime.rss()
    return parts
