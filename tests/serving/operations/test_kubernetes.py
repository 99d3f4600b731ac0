"""The manifests: each is what Kubernetes takes, and what one names the other has."""

import manifests
import pytest
import yaml
from manifests import kind

from serving.client.addresses import parse_addresses
from serving.gateway import asgi, server
from serving.gateway.settings import GatewaySettings


@pytest.fixture(scope="module")
def secret(configs):
    (found,) = manifests.read(configs / "kubernetes/secret.example.yaml")
    return found


@pytest.fixture(scope="module")
def settings(configs):
    return GatewaySettings.read(configs / "gateway.containers.yaml")


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


def container_of(deployment):
    (found,) = pod_of(deployment)["containers"]
    return found


def flags_of(deployment):
    return dict(flag.removeprefix("--").split("=", 1) for flag in container_of(deployment)["args"])


@pytest.fixture(scope="module")
def deployments(documents):
    found = kind(documents, "Deployment")
    assert found.keys() == {"serving", "gateway"}
    return found


# --- each by itself


def test_every_manifest_is_of_its_type(documents, secret):
    assert [problem for document in [*documents, secret] for problem in manifests.problems(document)] == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("kind",), "Deploy", "not a kind"),
        (("spec", "replica"), 2, "Deployment.spec: has no field 'replica'"),
        (("spec", "replicas"), "2", "Deployment.spec.replicas: '2' is no int"),
        (("spec", "paused"), 1, "Deployment.spec.paused: 1 is no bool"),
        (("spec", "selector"), None, "selector"),
        (("spec", "template", "spec", "containers"), {}, "containers: {} is no list"),
        (("metadata", "labels"), {"a": 1}, "labels.a: 1 is no str"),
        (("spec", "template", "spec", "securityContext", "seccompProfile"), {}, "lacks type"),
        (("spec", "template", "spec", "containers", 0, "livenessProbe", "grpc"), {"port": "8500"}, "'8500' is no int"),
        (("spec", "template", "spec", "containers", 0, "livenessProbe", "grcp"), {"port": 1}, "has no field 'grcp'"),
        (("spec", "template", "spec", "containers", 0, "image"), ["a"], "is no str"),
        (("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"), None, "container_port"),
    ],
)
def test_mistakes_are_seen(deployments, path, value, problem):
    document = yaml.safe_load(yaml.safe_dump(deployments["serving"]))
    inner = document
    for part in path[:-1]:
        inner = inner[part]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    assert any(problem in found for found in manifests.problems(document)), manifests.problems(document)


def test_names_are_there_once(documents, kustomization):
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(names) == len(set(names))
    assert kustomization["namespace"] in kind(documents, "Namespace")
    for each in documents:
        assert each["metadata"].get("namespace", kustomization["namespace"]) == kustomization["namespace"]


def test_everything_is_in_the_kustomization(configs, kustomization):
    known = {
        "apiVersion",
        "kind",
        "namespace",
        "labels",
        "resources",
        "configMapGenerator",
        "images",
    }
    assert kustomization.keys() == known
    files = {f"kubernetes/{file.name}" for file in (configs / "kubernetes").iterdir()}
    assert files - {*kustomization["resources"]} == {"kubernetes/secret.example.yaml"}
    for generated in kustomization["configMapGenerator"]:
        assert generated.keys() == {"name", "files"}
        for name in generated["files"]:
            assert (configs / name).is_file()


def test_the_example_of_a_secret_holds_none(secret):
    assert set(secret["stringData"].values()) == {""}
    assert "data" not in secret


# --- what one names, the other has


def test_selectors_mean_the_pods(documents, deployments):
    labels = {name: each["spec"]["template"]["metadata"]["labels"] for name, each in deployments.items()}
    for name, each in deployments.items():
        assert each["spec"]["selector"]["matchLabels"] == labels[name]
        for constraint in pod_of(each)["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"] == labels[name]
        keys = {constraint["topologyKey"] for constraint in pod_of(each)["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    services = kind(documents, "Service")
    assert services.keys() == deployments.keys()
    for name, each in services.items():
        assert each["spec"]["selector"] == labels[name]
    budgets = kind(documents, "PodDisruptionBudget")
    assert budgets.keys() == deployments.keys()
    for name, each in budgets.items():
        assert each["spec"]["selector"]["matchLabels"] == labels[name]


def test_ports_are_those_of_the_containers(documents, deployments, settings):
    ports = {
        name: {port["name"]: port["containerPort"] for port in container_of(each)["ports"]}
        for name, each in deployments.items()
    }
    flags = flags_of(deployments["serving"])
    assert ports["serving"] == {"grpc": int(flags["port"]), "rest": int(flags["rest_api_port"])}
    assert ports["gateway"] == {"http": settings.listen.port}
    for name, each in kind(documents, "Service").items():
        for port in each["spec"]["ports"]:
            assert port["targetPort"] in ports[name]
    for name, each in deployments.items():
        container = container_of(each)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert port_of(container[probe]) in {*ports[name], *ports[name].values()}
        annotations = each["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/scrape"] == "true"
        assert int(annotations["prometheus.io/port"]) in ports[name].values()


def port_of(probe):
    (how,) = [probe[name] for name in ("grpc", "httpGet") if name in probe]
    return how["port"]


def test_the_gateway_reaches_the_model_server_by_its_headless_service(documents, settings):
    service = kind(documents, "Service")["serving"]
    assert service["spec"]["clusterIP"] == "None" or service["spec"]["clusterIP"] is None
    ports = [port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc"]
    assert settings.model.address == f"dns:///serving:{ports[0]}"
    assert parse_addresses(settings.model.address)


def test_volumes_are_there_and_all_are_mounted(documents, deployments, kustomization, secret):
    claims = kind(documents, "PersistentVolumeClaim")
    config_maps = {each["name"] for each in kustomization["configMapGenerator"]}
    claimed = set()
    for each in deployments.values():
        volumes = {volume["name"]: volume for volume in pod_of(each)["volumes"]}
        assert volumes.keys() == {mount["name"] for mount in container_of(each)["volumeMounts"]}
        paths = [mount["mountPath"] for mount in container_of(each)["volumeMounts"]]
        assert len(paths) == len(set(paths))
        for volume in volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in config_maps
            elif "persistentVolumeClaim" in volume:
                claimed.add(volume["persistentVolumeClaim"]["claimName"])
            elif "secret" in volume:
                assert volume["secret"]["secretName"] == secret["metadata"]["name"]
                assert {item["key"] for item in volume["secret"]["items"]} == secret["stringData"].keys()
                assert all(item["key"] == item["path"] for item in volume["secret"]["items"])
            else:
                assert volume["emptyDir"] == {}
    assert claimed == claims.keys()


def test_every_file_that_the_gateway_is_told_of_is_mounted(deployments, kustomization, secret, settings):
    mounts = {mount["mountPath"]: mount for mount in container_of(deployments["gateway"])["volumeMounts"]}
    (files,) = [each["files"] for each in kustomization["configMapGenerator"] if each["name"] == "gateway"]
    there = {f"/config/{name}" for name in files} | {f"/run/secrets/{key}" for key in secret["stringData"]}
    (config,) = [argument for argument in container_of(deployments["gateway"])["args"] if "/" in argument]
    secrets = {settings.access.tokens, settings.store.url_file, settings.privacy.key_file}
    assert secrets == {f"/run/secrets/{key}" for key in secret["stringData"]}
    assert {config, settings.rules, *secrets} <= there
    assert settings.items.rpartition("/")[0] in mounts
    for log in (settings.logs.exposures, settings.logs.outcomes):
        folder = log.rpartition("/")[0]
        assert not mounts[folder].get("readOnly", False)
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly", False)}
    assert writable == {"/logs", "/tmp"}


def test_every_file_that_the_model_server_is_told_of_is_mounted(deployments, kustomization):
    mounts = {mount["mountPath"]: mount for mount in container_of(deployments["serving"])["volumeMounts"]}
    assert mounts["/models"]["readOnly"] and mounts["/config"]["readOnly"]
    (files,) = [each["files"] for each in kustomization["configMapGenerator"] if each["name"] == "serving"]
    flags = flags_of(deployments["serving"])
    assert {flags["batching_parameters_file"], flags["monitoring_config_file"]} == {f"/config/{name}" for name in files}
    assert flags["model_config_file"].rpartition("/")[0] in mounts


def test_autoscalers_and_budgets(documents, deployments):
    budgets = kind(documents, "PodDisruptionBudget")
    scalers = kind(documents, "HorizontalPodAutoscaler")
    assert scalers.keys() == deployments.keys()
    for name, each in scalers.items():
        target = each["spec"]["scaleTargetRef"]
        assert (target["apiVersion"], target["kind"]) == ("apps/v1", "Deployment") and target["name"] == name
        assert "replicas" not in deployments[name]["spec"], "or each apply would undo the autoscaler"
        # One may go, and one is left.
        assert each["spec"]["minReplicas"] > budgets[name]["spec"]["maxUnavailable"] == 1
        assert each["spec"]["maxReplicas"] > each["spec"]["minReplicas"]
        (metric,) = each["spec"]["metrics"]
        assert metric["resource"]["name"] in container_of(deployments[name])["resources"]["requests"]


# --- how the pods run


def test_probes_ask_what_there_is(deployments, configs):
    serving, gateway = container_of(deployments["serving"]), container_of(deployments["gateway"])
    # The port that gRPC's health service is on, which is off unless it is asked for.
    assert flags_of(deployments["serving"])["enable_grpc_healthcheck_service"] == "true"
    models = (configs / "models.config").read_text(encoding="utf-8")
    path = serving["readinessProbe"]["httpGet"]["path"]
    assert path.startswith("/v1/models/") and f'name: "{path.split("/")[3]}"' in models
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert gateway[probe]["httpGet"]["path"] == asgi.HEALTH
    annotations = deployments["gateway"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == asgi.METRICS
    annotations = deployments["serving"]["spec"]["template"]["metadata"]["annotations"]
    assert f'path: "{annotations["prometheus.io/path"]}"' in (configs / "monitoring.config").read_text(encoding="utf-8")


def test_pods_end_when_nobody_asks_them_any_more(deployments, settings):
    def waits(deployment):
        ((command, seconds),) = [container_of(deployment)["lifecycle"]["preStop"]["exec"]["command"]]
        assert command == "sleep"
        return int(seconds)

    serving, gateway = deployments["serving"], deployments["gateway"]
    arguments = flags_of(serving)["grpc_channel_arguments"].split(",")
    age, grace = (int(one.rpartition("=")[2]) / 1000 for one in arguments)
    assert [one.partition("=")[0] for one in arguments] == [
        "grpc.max_connection_age_ms",
        "grpc.max_connection_age_grace_ms",
    ]
    deadline = settings.model.timeout_ms / 1000
    assert grace > deadline
    # Connections live up to a tenth longer than `age`; the second end finds the name without this replica.
    assert waits(serving) > 2 * 1.1 * age + deadline
    assert pod_of(serving)["terminationGracePeriodSeconds"] > waits(serving) + deadline
    assert pod_of(gateway)["terminationGracePeriodSeconds"] > waits(gateway) + server._GRACE
    for each in deployments.values():
        assert each["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_killed_start_has_had_the_time_that_models_take(deployments):
    probe = container_of(deployments["serving"])["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600


def test_pods_can_do_little(deployments):
    for each in deployments.values():
        pod, container = pod_of(each), container_of(each)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"].keys() == {"requests", "limits"}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}
        assert "env" not in container and "envFrom" not in container


def test_images_are_pinned_to_those_of_the_stack(configs, deployments, kustomization):
    tags = {image["name"]: image["newTag"] for image in kustomization["images"]}
    assert {container_of(each)["image"] for each in deployments.values()} == tags.keys()
    stack = yaml.safe_load((configs / "stack.yaml").read_text(encoding="utf-8"))["services"]
    for name, each in deployments.items():
        image = container_of(each)["image"]
        assert stack[name]["image"] == f"{image}:{tags[image]}"


def test_the_model_server_runs_as_in_the_stack(configs, deployments):
    service = yaml.safe_load((configs / "stack.yaml").read_text(encoding="utf-8"))["services"]["serving"]
    container = container_of(deployments["serving"])
    assert (service["entrypoint"], service["command"]) == (container["command"], container["args"])
    assert service["user"] == "{runAsUser}:{runAsGroup}".format(**pod_of(deployments["serving"])["securityContext"])
