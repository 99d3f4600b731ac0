"""Which series there are, with which labels: of the gateway, of TensorFlow Serving, of Prometheus itself."""

import re

import promql
import yaml
from promql import Aggregation, Binary, Call, Selector

from serving.gateway import answered, asgi, gateway, log_writer, models
from serving.gateway.metrics import HISTOGRAM, METRICS, Metrics

#: Every series has these from Prometheus' scrape.
TARGET = {"job", "instance"}
#: TensorFlow Serving's, name -> labels (util/prometheus_exporter.cc, servables/tensorflow/util.cc); histograms end in
#: `_bucket`, `_sum` and `_count`.
SERVING_COUNTERS = {
    "request_count": {"model_name", "status"},
    "request_example_count_total": {"model"},
    "request_log_count": {"model_name", "status_code"},
    "model_warmup_records_read": {"model_path"},
    "batching_session:wrapped_run_count": set(),
}
SERVING_HISTOGRAMS = {
    "request_latency": {"model_name", "API", "entrypoint"},
    "runtime_latency": {"model_name", "API", "runtime"},
    "request_example_counts": {"model"},
    "model_warmup_latency": {"model_path", "status"},
    "batching_session:queuing_latency": {"thread_pool_name"},
    "batching_session:input_batch_size": set(),
    "batching_session:processed_batch_size": set(),
    "batching_session:padding_size": {"execution_batch_size"},
}
SERVING = ":tensorflow:serving:"
#: Prometheus' own.
OTHERS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
#: Values of labels of the gateway that queries choose by; a status is any of HTTP.
VALUES = {
    "route": {*asgi.CALLS, asgi.HEALTH, asgi.READY, asgi.METRICS, asgi.OPENAPI, asgi.OTHER},
    "status": {str(number) for number in range(200, 600)},
    "source": {answered._MODEL, answered._CONTROL, answered._RULES, answered._FALLBACK},
    "reason": {gateway.WELCOME, gateway.CONTROL, *models.MODEL_REASONS},
    "result": {log_writer.WRITTEN, log_writer.DROPPED},
}
_SERIES = re.compile(r"(?P<name>[a-zA-Z_:]\w[\w:]*)(?:\{(?P<labels>.*)\})? \S+")


def on_page(text):
    """series -> labels, of a page that Prometheus reads."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = _SERIES.fullmatch(line)
            labels = set(re.findall(r'(\w+)="', match["labels"] or ""))
            found.setdefault(match["name"], set()).update(labels)
    return found


def of_the_gateway():
    """What /metrics of a gateway has that has counted everything once."""
    page = Metrics((-1.0, 1.0))
    for metric in METRICS:
        labels = ["x"] * len(metric.labels)
        if metric.kind == HISTOGRAM:
            page.observe(metric, 1.0, *labels)
        else:
            page.add(metric, *labels)
    return on_page(page.text().decode())


def of_the_model_server():
    """What the stock server's page has."""
    found = {SERVING + name: labels for name, labels in SERVING_COUNTERS.items()}
    for name, labels in SERVING_HISTOGRAMS.items():
        for part, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
            found[SERVING + name + part] = labels | more
    return found


def scraped():
    """series -> labels, of all that is there without rules."""
    pages = {**OTHERS, **of_the_gateway(), **of_the_model_server()}
    return {name: labels | TARGET for name, labels in pages.items()}


def value_problems(tree):
    """Matchers of the gateway's series that no value fits which it has, as sentences; `!=` must leave something out."""
    for each in promql.selectors(tree):
        for label, sign, value in each.matchers:
            known = VALUES.get(label) if each.name.startswith("gateway_") else None
            if known is not None and not any(
                re.fullmatch(value, one) if "~" in sign else value == one for one in known
            ):
                yield f"{each.name}: {label} is never {value!r}"


def with_recorded(file):
    """The same, and what the recording rules of a file add."""
    found = scraped()
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            found[rule["record"]] = labels_of(promql.parse(rule["expr"]), found)
    return found


def labels_of(tree, known):
    """The labels that an expression's series can have.

    Raises:
      LookupError: for a series or a label that there is not.
    """
    if isinstance(tree, Selector):
        if tree.name not in known:
            raise LookupError(f"there is no series {tree.name}")
        _there({label for label, *_ in tree.matchers}, known[tree.name], tree.name)
        return set(known[tree.name])
    if isinstance(tree, Call):
        if tree.function == "absent":
            labels_of(tree.arguments[0], known)
            return {label for label, sign, _ in tree.arguments[0].matchers if sign == "="}
        labels = set().union(*(labels_of(argument, known) for argument in tree.arguments))
        if tree.function == "histogram_quantile":
            _there({"le"}, labels, "what histogram_quantile is given")
            labels -= {"le"}
        return labels
    if isinstance(tree, Aggregation):
        labels = labels_of(tree.operand, known)
        _there(set(tree.labels), labels, f"what {tree.operator} is given")
        if tree.operator == "topk":
            return labels
        return set(tree.labels) if tree.grouping == "by" else labels - set(tree.labels)
    if isinstance(tree, Binary):
        return _binary_labels(tree, labels_of(tree.left, known), labels_of(tree.right, known))
    return set()


def _binary_labels(tree, left, right):
    _there(set(tree.labels), left | right, f"what {tree.operator} is given")
    if tree.operator == "or":
        return left | right
    if promql.SCALAR in (tree.left.kind, tree.right.kind):
        return left | right
    if tree.operator in promql.SET_OPERATORS:
        return left
    if tree.group:
        return left
    compared = (left, right) if tree.matching != "ignoring" else (left - set(tree.labels), right - set(tree.labels))
    if tree.matching == "on":
        return set(tree.labels)
    if compared[0] != compared[1]:
        raise LookupError(f"{tree.operator} is given {sorted(left)} and {sorted(right)}; they never match")
    return compared[0]


def _there(labels, known, where):
    if missing := labels - known:
        raise LookupError(f"{where} has no label {', '.join(sorted(missing))}")
