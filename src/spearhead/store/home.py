"""Where everything of one installation lies. Creates nothing until it is asked for a folder."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """`root` holds what is this installation's own; `cache` what can be fetched again and may be shared.

    A database elsewhere (PostgreSQL) is named by `url`, an authority that stamps when something was signed by
    `time_stamps`.
    """

    root: Path
    cache: Path
    url: str | None = None
    time_stamps: str | None = None

    @classmethod
    def find(cls, root: Path | None = None) -> "Home":
        """`root`, else $SPEARHEAD_HOME, else `.spearhead` here; $SPEARHEAD_DATABASE_URL names another database.

        $SPEARHEAD_TIME_STAMPS is the URL of a time-stamp authority (RFC 3161); without it nobody is asked.
        """
        env = os.environ
        place = root or Path(env.get("SPEARHEAD_HOME", ".spearhead"))
        shared = Path(env.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spearhead"
        return cls(
            root=place.absolute(),
            cache=Path(env.get("SPEARHEAD_CACHE", shared)).absolute(),
            url=env.get("SPEARHEAD_DATABASE_URL"),
            time_stamps=env.get("SPEARHEAD_TIME_STAMPS") or None,
        )

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the one database."""
        return self.url or f"sqlite:///{self.root / 'spearhead.db'}"

    @property
    def blobs(self) -> Path:
        """Outputs and other bytes, named by sha256."""
        return self.root / "blobs"

    @property
    def releases(self) -> Path:
        """`releases/<scenario>/<version>/`."""
        return self.root / "releases"

    @property
    def runs(self) -> Path:
        """`runs/<scenario>/`: the road's steps, resumable."""
        return self.root / "runs"

    @property
    def data(self) -> Path:
        """`data/<scenario>/<digest>/`: admitted records and refusals."""
        return self.root / "data"

    @property
    def secrets(self) -> Path:
        """Signing keys, mode 0700."""
        return self.root / "secrets"

    @property
    def heads(self) -> Path:
        """Signed heads of the audit log."""
        return self.root / "audit"

    @property
    def packages(self) -> Path:
        """Fetched packages by sha256."""
        return self.cache / "packages"

    @property
    def models(self) -> Path:
        """Base models converted once, by the sha256 of what they were converted from."""
        return self.cache / "models"
