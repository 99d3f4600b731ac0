"""Grafana's files: the dashboard is whole, and each of its queries asks for what is there."""

import itertools
import json
import re

import metric_names
import promql
import pytest
import yaml

from serving.gateway.metrics import METRICS

#: Panel -> alert whose limit is its last colour.
LIMITS = {
    "Errors": "GatewayErrors",
    "Slowest of 100": "GatewaySlow",
    "Fallbacks": "FallbackShare",
    "Rejected by rules": "RejectShare",
    "Oldest model": "StaleModel",
    "Age of the version": "StaleModel",
    "Score drift": "ScoreDrift",
}
UNITS = {"short", "none", "reqps", "percentunit", "s", "µs", "bytes"}


@pytest.fixture(scope="module")
def dashboard(configs):
    return json.loads((configs / "grafana/dashboards/shop_ranker.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def source(configs):
    (found,) = read(configs / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    return found


def read(file):
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def queries(panels):
    for panel in panels:
        for target in panel["targets"]:
            yield panel, target, promql.parse(target["expr"].replace("$__rate_interval", "5m"))


def test_every_query_asks_for_series_and_labels_that_there_are(panels, dashboard, configs):
    known = metric_names.with_recorded(configs / "prometheus/recording_rules.yml")
    for panel, target, tree in queries(panels):
        labels = metric_names.labels_of(tree, known)
        assert set(re.findall(r"\{\{(.*?)\}\}", target["legendFormat"])) <= labels, panel["title"]
    for annotation in dashboard["annotations"]["list"]:
        labels = metric_names.labels_of(promql.parse(annotation["expr"]), known)
        assert set(re.findall(r"\{\{(.*?)\}\}", annotation["titleFormat"])) <= labels


def test_nothing_that_the_gateway_counts_is_left_out(panels, configs):
    alerts = read(configs / "prometheus/alert_rules.yml")["groups"]
    records = read(configs / "prometheus/recording_rules.yml")["groups"]
    ruled = [promql.parse(rule["expr"]) for group in alerts + records for rule in group["rules"]]
    asked = {each.name for tree in [*ruled, *(tree for *_, tree in queries(panels))] for each in promql.selectors(tree)}
    assert [metric.name for metric in METRICS if not asked & set(metric.series)] == []


def test_panels(panels, dashboard, source):
    assert dashboard["uid"] and dashboard["schemaVersion"] >= 36 and not dashboard["editable"]
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(identities) == len(set(identities))
    for panel in panels:
        assert panel["title"] and panel["targets"]
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        if len(references) > 1:  # or nobody could tell the lines apart
            legends = [target["legendFormat"] for target in panel["targets"]]
            assert "" not in legends and len(set(legends)) == len(legends), panel["title"]


def test_units_are_those_of_the_series(panels):
    for panel, _, tree in queries(panels):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        names = {each.name for each in promql.selectors(tree)}
        if any(name.startswith(":tensorflow:serving:") and "latency" in name for name in names):
            assert unit == "µs", panel["title"]
        elif any("_duration_seconds" in name for name in names) or "timestamp_seconds" in str(names):
            assert unit == "s", panel["title"]
        elif any(":ratio_" in name or name == "gateway:score:distance1d" for name in names):
            assert unit == "percentunit", panel["title"]
        elif any(name.endswith("_bytes") for name in names):
            assert unit == "bytes", panel["title"]


def test_panels_lie_beside_each_other(dashboard):
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
    for _, place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], f"{one} covers {other}"


def test_red_begins_where_the_alert_does(panels, configs):
    groups = read(configs / "prometheus/alert_rules.yml")["groups"]
    alerts = {rule["alert"]: promql.parse(rule["expr"]) for group in groups for rule in group["rules"]}
    colored = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        for panel in panels
        if "thresholds" in panel["fieldConfig"]["defaults"]
    }
    assert colored.keys() == LIMITS.keys()
    for title, steps in colored.items():
        values = [step["value"] for step in steps]
        assert values[0] is None and values[1:] == sorted(values[1:])
        assert (values[-1], steps[-1]["color"]) == (limit_of(alerts[LIMITS[title]]), "red"), title


def limit_of(tree):
    assert tree.operator == ">"
    right = tree.right
    return right.value if isinstance(right, promql.Number) else right.left.value * right.right.value


def test_grafana_finds_all_of_it(configs, source):
    stack = read(configs / "stack.yaml")["services"]
    assert stack["grafana"]["volumes"][0] == ".:/config:ro"

    def inside(path):
        found = configs / path.removeprefix("/config/")
        assert path.startswith("/config/") and found.exists()
        return found

    environment = stack["grafana"]["environment"]
    provisioning = inside(environment["GF_PATHS_PROVISIONING"])
    assert inside(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).suffix == ".json"
    assert {path.name for path in provisioning.iterdir()} == {"datasources", "dashboards"}
    (provider,) = read(provisioning / "dashboards/shop_ranker.yaml")["providers"]
    assert [*inside(provider["options"]["path"]).glob("*.json")]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert f":{port}/" in " ".join(stack[host]["healthcheck"]["test"])
    assert (
        source["jsonData"]["timeInterval"] == read(configs / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    )
