"""What a server counts, for Prometheus. Knows how things are named, not when they happen."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Figures:
    """Counters of one server; names start with `spearhead_`."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "spearhead_requests_total", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "spearhead_request_seconds",
            "From a request's arrival to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_text = Histogram(
            "spearhead_first_text_seconds",
            "From a request's arrival to the first text of a stream.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.units = Counter(
            "spearhead_units_total", "Units counted by the runtime.", ["release", "kind"], registry=registry
        )
        self.charged = Counter("spearhead_charged_billionths_total", "Money charged.", ["currency"], registry=registry)
        self.answers = Counter(
            "spearhead_answers_total",
            "Answers by what became of them: delivered, held, withheld, refused, failed, cut_off.",
            ["release", "end"],
            registry=registry,
        )
        self.running = Gauge("spearhead_running_requests", "Generations under way.", registry=registry)
        self.files_waiting = Gauge(
            "spearhead_files_waiting", "Answers that left and whose labelled file is not made yet.", registry=registry
        )
        self.runtime_up = Gauge(
            "spearhead_runtime_up", "Whether a release's runtime runs.", ["release"], registry=registry
        )
        self.restarts = Gauge(
            "spearhead_runtime_restarts", "Crashes of a runtime since the start.", ["release"], registry=registry
        )
        self.recycled = Gauge(
            "spearhead_runtime_recycled", "Runtimes replaced because they grew.", ["release"], registry=registry
        )
        self.resident = Gauge(
            "spearhead_resident_bytes", "Memory of the service and its runtimes.", ["part"], registry=registry
        )

    def text(self, accept: str) -> tuple[bytes, str]:
        """All of them in the format that an `Accept` header asks for, and its type; without a wish in the oldest."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind
