"""Prometheus' files: they ask what is there, and the rules say what they mean to."""

import json
import re

import metric_names
import promql
import pytest
import yaml

from serving.gateway.asgi import METRICS as METRICS_PATH
from serving.gateway.settings import GatewaySettings
from serving.server.metrics import Counter, Histogram, Metrics

SEVERITIES = {"critical", "warning"}
TEMPLATE = re.compile(r"\{\{ (.*?) \}\}")


@pytest.fixture(scope="module")
def folder(configs):
    return configs / "prometheus"


@pytest.fixture(scope="module")
def settings(folder):
    return yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def known(folder):
    return metric_names.with_recorded(folder / "recording_rules.yml")


def rules(folder, file):
    content = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
    assert content.keys() == {"groups"}
    names = [group["name"] for group in content["groups"]]
    assert len(names) == len(set(names))
    for group in content["groups"]:
        assert group.keys() <= {"name", "interval", "rules"}
        yield from group["rules"]


def test_it_asks_where_the_metrics_are(settings, configs):
    stack = yaml.safe_load((configs / "stack.yaml").read_text(encoding="utf-8"))["services"]
    jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
    assert jobs.keys() == {"serving", "gateway"}
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in stack["serving"]["command"])
    gateway = GatewaySettings.read(configs / "gateway.containers.yaml").listen
    expected = {
        "serving": (monitoring_path(configs), int(flags["rest_api_port"])),
        "gateway": (METRICS_PATH, gateway.port),
    }
    for name, job in jobs.items():
        assert job.keys() == {"job_name", "metrics_path", "dns_sd_configs"}
        assert job["dns_sd_configs"] == [{"names": [name], "type": "A", "port": expected[name][1]}]
        assert job["metrics_path"] == expected[name][0]
        assert name in stack


def monitoring_path(configs):
    """test_server_configs.py reads the file as the server does."""
    return re.search(r'^  path: "(.*)"$', (configs / "monitoring.config").read_text(encoding="utf-8"), re.MULTILINE)[1]


def test_it_follows_every_file_of_rules(settings, folder):
    assert settings.keys() == {"global", "rule_files", "scrape_configs"}
    assert {folder / name for name in settings["rule_files"]} == {*folder.glob("*_rules.yml")}


def test_recorded_series(folder):
    known = metric_names.scraped()
    for rule in rules(folder, "recording_rules.yml"):
        assert rule.keys() == {"record", "expr"}
        assert re.fullmatch(r"(gateway|serving):[a-z_]+:[a-z0-9_]+", rule["record"])
        assert rule["record"] not in known, "recorded twice"
        known[rule["record"]] = metric_names.labels_of(promql.parse(rule["expr"]), known)


def test_every_recorded_series_is_looked_at(folder, configs):
    files = [folder / "recording_rules.yml", folder / "alert_rules.yml", *configs.glob("grafana/dashboards/*.json")]
    text = " ".join(file.read_text(encoding="utf-8") for file in files)
    for rule in rules(folder, "recording_rules.yml"):
        assert len(re.findall(rf"{rule['record']}\b", text)) > 1, f"{rule['record']} is recorded for nobody"


def test_alerts(folder, known):
    names = []
    for rule in rules(folder, "alert_rules.yml"):
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        names.append(rule["alert"])
        assert re.fullmatch(r"([A-Z][a-z]+)+", rule["alert"])
        assert promql.seconds(rule["for"]) >= 60
        assert rule["labels"].keys() == {"severity"} and rule["labels"]["severity"] in SEVERITIES
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        tree = promql.parse(rule["expr"])
        assert tree.kind == promql.VECTOR
        labels = metric_names.labels_of(tree, known)
        for text in rule["annotations"].values():
            assert text.strip() and "\n" not in text
            for template in TEMPLATE.findall(text):
                source, *filters = template.split(" | ")
                assert set(filters) <= {"humanize", "humanizeDuration", "humanizePercentage"}
                assert source == "$value" or source.removeprefix("$labels.") in labels, f"{rule['alert']}: {template}"
            assert "{" not in TEMPLATE.sub("", text)
    assert len(names) == len(set(names))


def test_every_alert_fires_in_a_scenario(folder):
    """And stays silent in the first one, of a healthy shop (test_alerts.py)."""
    from test_alerts import TESTS

    fired = {
        name
        for _, test in TESTS
        for question in test["promql_expr_test"]
        for sample in question.get("exp_samples", [])
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {rule["alert"] for rule in rules(folder, "alert_rules.yml")}


def test_the_embedded_server_has_the_same_metrics():
    """The table of metric_names.py is made of the real server's source, and the embedded one is held against it."""
    page = Metrics()
    for metric in vars(page).values():
        if isinstance(metric, (Counter, Histogram)):
            labels = ["x"] * len(metric._labels)
            if isinstance(metric, Counter):
                metric.add(*labels)
            else:
                metric.add(*labels, value=1)
    assert metric_names.on_page(page.text()) == metric_names.of_the_model_server()


def test_queries_choose_by_values_that_there_are(folder, configs):
    """`reason!="newuser"` would leave out nothing, and no one would see."""
    dashboard = json.loads((configs / "grafana/dashboards/shop_ranker.json").read_text(encoding="utf-8"))
    queries = [rule["expr"] for file in ("recording_rules.yml", "alert_rules.yml") for rule in rules(folder, file)]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    trees = [promql.parse(query.replace("$__rate_interval", "5m")) for query in queries]
    assert [problem for tree in trees for problem in metric_names.value_problems(tree)] == []
    chosen = {label for tree in trees for each in promql.selectors(tree) for label, *_ in each.matchers}
    assert metric_names.VALUES.keys() <= chosen
    for wrong in ('gateway_fallbacks_total{reason!="newuser"}', 'gateway_requests_total{status=~"5."}'):
        assert [*metric_names.value_problems(promql.parse(wrong))]


def test_in_kubernetes_the_same_jobs_are_asked_where_the_pods_say(folder, configs, settings):
    inside = yaml.safe_load((folder / "kubernetes.yml").read_text(encoding="utf-8"))
    (job,) = inside.pop("scrape_configs")
    assert inside == {key: value for key, value in settings.items() if key != "scrape_configs"}
    kustomization = yaml.safe_load((configs / "kustomization.yaml").read_text(encoding="utf-8"))
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [kustomization["namespace"]]}}]
    expected = {each["job_name"]: each for each in settings["scrape_configs"]}
    for name in expected:
        text = (configs / f"kubernetes/{name}.yaml").read_text(encoding="utf-8")
        pod = next(yaml.safe_load_all(text))["spec"]["template"]["metadata"]
        labels = {"__meta_kubernetes_pod_ip": "10.0.0.7", "__meta_kubernetes_pod_phase": "Running"}
        for kind, each in (("label", "labels"), ("annotation", "annotations")):
            for key, value in pod[each].items():
                labels[f"__meta_kubernetes_pod_{kind}_{re.sub('[^a-zA-Z0-9_]', '_', key)}"] = value
        (where,) = expected[name]["dns_sd_configs"]
        found = relabelled(labels, job["relabel_configs"])
        assert (found["job"], found["__address__"]) == (name, f"10.0.0.7:{where['port']}")
        assert found["__metrics_path__"] == expected[name]["metrics_path"]
        assert relabelled({**labels, "__meta_kubernetes_pod_phase": "Failed"}, job["relabel_configs"]) is None
        assert relabelled({**labels, LABEL: "release"}, job["relabel_configs"]) is None


LABEL = "__meta_kubernetes_pod_label_app_kubernetes_io_name"


def relabelled(labels, steps):
    """What Prometheus makes of a target's labels; None if it drops the target."""
    labels = dict(labels)
    for step in steps:
        value = step.get("separator", ";").join(labels.get(name, "") for name in step["source_labels"])
        fits = re.fullmatch(step.get("regex", "(.*)"), value)
        if step.get("action", "replace") == "replace":
            labels[step["target_label"]] = value
        elif bool(fits) != (step["action"] == "keep"):
            return None
    return labels


def test_series_and_labels_that_there_are_not(known):
    for text, error in (
        ("gateway_request_total", "there is no series gateway_request_total"),
        ("gateway_score_count{le='1'}", "gateway_score_count has no label le"),
        ("sum by (path) (gateway_requests_total)", "what sum is given has no label path"),
        ("histogram_quantile(0.5, sum by (route) (gateway_request_duration_seconds_bucket))", "has no label le"),
        ("gateway_fallbacks_total / gateway_answers_total", "they never match"),
    ):
        with pytest.raises(LookupError, match=error):
            metric_names.labels_of(promql.parse(text), known)
