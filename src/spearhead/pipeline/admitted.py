"""The step of the road that admits data: the scenario's checks, its policy's rules for data and the withdrawals, handed
to `data.prepare`."""

from collections.abc import Generator

from spearhead.core.catalogue import Catalogue
from spearhead.core.generation import Progress
from spearhead.core.review import Direction
from spearhead.data.admit import LIMITS
from spearhead.data.dataset import Dataset
from spearhead.data.prepare import prepare
from spearhead.data.withdraw import withdrawn
from spearhead.pipeline.desk import opened
from spearhead.review import policy
from spearhead.scenario.read import Loaded
from spearhead.store.home import Home


def admitted(loaded: Loaded, home: Home) -> Generator[Progress, None, Dataset]:
    """The scenario's admitted data; prepared when it is not there yet."""
    scenario = loaded.scenario
    checks = [Catalogue("spearhead.review", "CHECK")[name] for name in scenario.data.checks]
    gone = withdrawn(opened(home))
    return (
        yield from prepare(
            scenario.data,
            home=home,
            folder=loaded.folder,
            checks=checks,
            sells=not scenario.price.free,
            withdrawn=gone,
            limits=policy.limits(scenario.review, Direction.DATA) or LIMITS,
        )
    )
