"""What the server counts and times, for Prometheus.

No label holds text or a path that a client made up.
"""

import time
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ner_edge.serve.models import Models

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class Metrics:
    """The metrics of one server."""

    def __init__(self, models: Models) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(BatchCollector(models))
        self.requests = Counter(
            "ner_edge_requests", "Requests.", ["path", "status"], registry=self.registry
        )
        self.under_way = Gauge(
            "ner_edge_requests_under_way", "Requests being answered.", registry=self.registry
        )
        self.sentences = Counter(
            "ner_edge_sentences", "Tagged sentences.", ["model"], registry=self.registry
        )
        self.first = Histogram(
            "ner_edge_first_sentence_seconds",
            "From a request to the entities of its first sentence.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.last = Histogram(
            "ner_edge_last_sentence_seconds",
            "From a request to the entities of its last sentence.",
            registry=self.registry,
            buckets=_SECONDS,
        )

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class BatchCollector(Collector):
    """Reads the statistics of the loaded models when they are asked for."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the batches that requests share."""
        callers = GaugeMetricFamily("ner_edge_texts", "Texts being tagged.", labels=["model"])
        waiting = GaugeMetricFamily(
            "ner_edge_sentences_waiting", "Sentences not yet begun.", labels=["model"]
        )
        batches = CounterMetricFamily("ner_edge_batches", "Batches.", labels=["model"])
        tokens = CounterMetricFamily(
            "ner_edge_batch_tokens", "Tokens of all batches.", labels=["model"]
        )
        for name, tagger in self._models.loaded.items():
            statistics = tagger.statistics
            callers.add_metric([name], statistics.callers)
            waiting.add_metric([name], statistics.waiting)
            batches.add_metric([name], statistics.batches)
            tokens.add_metric([name], statistics.tokens)
        yield from (callers, waiting, batches, tokens)


class Progress:
    """Counts and times the sentences of one request."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics = metrics
        self._sentences = metrics.sentences.labels(model)
        self._started = time.perf_counter()
        self.sentences = 0

    def sentence(self) -> None:
        """Count a sentence."""
        if not self.sentences:
            self._metrics.first.observe(self.seconds)
        self.sentences += 1
        self._sentences.inc()

    def end(self) -> None:
        """Note that all sentences are tagged."""
        self._metrics.last.observe(self.seconds)

    @property
    def seconds(self) -> float:
        """Since the request arrived."""
        return time.perf_counter() - self._started


class CountRequests:
    """ASGI middleware that counts requests by status, and by path if it is one of `paths`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Sequence[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        with self._metrics.under_way.track_inprogress():
            await self._app(scope, receive, send_and_count)
