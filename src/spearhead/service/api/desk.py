"""What the endpoints of one server share. Knows none of them."""

from dataclasses import dataclass

from spearhead.core.clock import Clock
from spearhead.engine.run import Engine
from spearhead.service.api.figures import Figures
from spearhead.service.api.limits import Gate


@dataclass(slots=True)
class Desk:
    """The engine, the limits, the figures, the clock, and how many generations run."""

    engine: Engine
    gate: Gate
    figures: Figures
    clock: Clock
    running: int = 0
