"""What the server counts and measures, as TensorFlow Serving names it, in Prometheus' text format.

prometheus-client would append `_total` to the counters' names and knows no names that begin with a colon.
"""

from __future__ import annotations

import bisect
import re
import threading
from collections.abc import Sequence

_PREFIX = "/tensorflow/serving/"
#: Series whose label values callers invented (names of models that there are not); beyond these new ones are dropped.
_MOST_INVENTED = 1000


class Counter:
    """A number that only rises, per label values.

    Args:
      name: as `/tensorflow/serving/request_count`.
      labels: their names.
    """

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self._labels = tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], int] = {}
        self._invented = 0

    def add(self, *values: str, amount: int = 1, invented: bool = False) -> None:
        """Raises the counter of the given label values; `invented` ones may be dropped."""
        with self._lock:
            if invented and values not in self._values:
                if self._invented >= _MOST_INVENTED:
                    return
                self._invented += 1
            self._values[values] = self._values.get(values, 0) + amount

    def first(self) -> int:
        """The number of the first series, in the order of the label values; 0 without any."""
        with self._lock:
            return self._values[min(self._values)] if self._values else 0

    def lines(self) -> list[str]:
        """The series as text."""
        with self._lock:
            series = list(self._values.items())
        name = _metric_name(self.name)
        return [f"{name}{{{_label_text(self._labels, values)}}} {number}" for values, number in series]


class Histogram:
    """A distribution in buckets that grow by a factor, per label values.

    Args:
      name: as `/tensorflow/serving/request_latency`.
      labels: their names.
      buckets: first limit, factor, number of limits.
    """

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], buckets: tuple[float, float, int]) -> None:
        self.name = name
        self._labels = tuple(labels)
        limit, factor, count = buckets
        self._limits = []
        for _ in range(count):
            self._limits.append(limit)
            limit *= factor
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def add(self, *values: str, value: float) -> None:
        """Counts a value under the given label values."""
        with self._lock:
            if values not in self._series:
                self._series[values] = ([0] * (len(self._limits) + 1), [0.0])
            counts, total = self._series[values]
            counts[bisect.bisect_right(self._limits, value)] += 1
            total[0] += value

    def first(self) -> int:
        """A distribution has no one number."""
        return 0

    def lines(self) -> list[str]:
        """The series as text, with cumulative buckets."""
        with self._lock:
            series = [(values, list(counts), total[0]) for values, (counts, total) in self._series.items()]
        name, lines = _metric_name(self.name), []
        for values, counts, total in series:
            labels = _label_text(self._labels, values)
            start, below = f"{name}_bucket{{{labels}{',' if labels else ''}", 0
            for limit, count in zip([*(f"{limit:.6g}" for limit in self._limits), "+Inf"], counts, strict=True):
                below += count
                lines.append(f'{start}le="{limit}"}} {below}')
            lines.append(f"{name}_sum{{{labels}}} {total:.6g}")
            lines.append(f"{name}_count{{{labels}}} {below}")
        return lines


class Metrics:
    """All of a server's metrics."""

    def __init__(self) -> None:
        self._all: list[Counter | Histogram] = []
        latency, sizes = (10.0, 1.8, 33), (1.0, 2.0, 14)  # latencies in microseconds
        self.request_count = self._counter("request_count", "model_name", "status")
        self.request_latency = self._histogram("request_latency", latency, "model_name", "API", "entrypoint")
        self.runtime_latency = self._histogram("runtime_latency", latency, "model_name", "API", "runtime")
        self.example_counts = self._histogram("request_example_counts", (1.0, 2.0, 15), "model")
        self.example_count_total = self._counter("request_example_count_total", "model")
        self.request_log_count = self._counter("request_log_count", "model_name", "status_code")
        self.warmup_latency = self._histogram("model_warmup_latency", latency, "model_path", "status")
        self.warmup_records = self._counter("model_warmup_records_read", "model_path")
        batching = "batching_session/"
        self.queuing_latency = self._histogram(batching + "queuing_latency", (100.0, 1.2, 52), "thread_pool_name")
        self.wrapped_run_count = self._counter(batching + "wrapped_run_count")
        self.input_batch_size = self._histogram(batching + "input_batch_size", sizes)
        self.processed_batch_size = self._histogram(batching + "processed_batch_size", sizes)
        self.padding_size = self._histogram(batching + "padding_size", sizes, "execution_batch_size")

    def value(self, name: str) -> int:
        """What a metric counts in its first series, as `ReloadConfigRequest.metric_names` asks of TensorFlow Serving;
        0 for a distribution and for what there is not."""
        return next((metric.first() for metric in self._all if metric.name == name), 0)

    def text(self) -> str:
        """The page that Prometheus reads."""
        lines = []
        for metric in sorted(self._all, key=lambda metric: metric.name):
            lines.append(f"# TYPE {_metric_name(metric.name)} {metric.kind}")
            lines.extend(metric.lines())
        return "\n".join(lines) + "\n"

    def _counter(self, name: str, *labels: str) -> Counter:
        metric = Counter(_PREFIX + name, labels)
        self._all.append(metric)
        return metric

    def _histogram(self, name: str, buckets: tuple[float, float, int], *labels: str) -> Histogram:
        metric = Histogram(_PREFIX + name, labels, buckets)
        self._all.append(metric)
        return metric


def _metric_name(name: str) -> str:
    return re.sub("[^a-zA-Z0-9_]", ":", name)


def _label_text(names: Sequence[str], values: Sequence[str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return ",".join(f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True))
