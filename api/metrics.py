"""Measurements of one process for Prometheus. Each web process answers with its own.

Requests are counted by hand, because the library's histogram takes a lock and walks its buckets for
each of them; the library only writes down what was counted.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds in seconds; the last bucket has none."""


class _Series:
    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Metrics(Collector):
    """Counted and timed requests, and the lags that `/health` judges."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], _Series] = {}
        self._registry = CollectorRegistry()
        self._lag = Gauge(
            "mostrador_lag_seconds",
            "How far background work is behind, by its name.",
            ("work",),
            registry=self._registry,
        )
        self._registry.register(self)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        series = self._requests.get((method, route, status))
        if series is None:
            series = self._requests[method, route, status] = _Series()
        series.counts[bisect_left(BUCKETS, seconds)] += 1
        series.seconds += seconds

    def lag(self, work: str, seconds: float) -> None:
        """Note how far some background work is behind."""
        self._lag.labels(work).set(seconds)

    def text(self) -> bytes:
        """In Prometheus' own format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What was counted, as the library asks for it."""
        family = HistogramMetricFamily(
            "mostrador_request_seconds",
            "Answered requests, by the time until their last byte.",
            labels=("method", "route", "status"),
        )
        bounds = [*map(str, BUCKETS), "+Inf"]
        for (method, route, status), series in self._requests.items():
            buckets = list(zip(bounds, accumulate(series.counts), strict=True))
            family.add_metric((method, route, str(status)), buckets, series.seconds)
        yield family
