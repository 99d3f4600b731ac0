"""The compose file of everything: what it names is there, and nothing is open that need not be."""

import pathlib
import re

import pytest
import yaml

from benchmarks.serving import BATCHING, FLAGS
from serving.gateway import asgi, server
from serving.gateway.settings import GatewaySettings
from serving.release.settings import ReleaseSettings
from serving.server.flags import parse_flags

#: Keys of compose that are used, and what a value of theirs is.
SERVICE = {
    "image": str,
    "build": dict,
    "entrypoint": list,
    "command": list,
    "environment": dict,
    "ports": list,
    "volumes": list,
    "secrets": list,
    "user": str,
    "read_only": bool,
    "tmpfs": list,
    "cap_drop": list,
    "security_opt": list,
    "mem_limit": str,
    "networks": list,
    "depends_on": dict,
    "healthcheck": dict,
    "restart": str,
    "stop_grace_period": str,
}
HEALTH = {"test": list, "interval": str, "timeout": str, "retries": int, "start_period": str}
VARIABLE = re.compile(r"\$\{(\w+)(?::[?-][^}]*)?\}")


@pytest.fixture(scope="module")
def text(configs):
    return (configs / "stack.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stack(text):
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def services(stack):
    return stack["services"]


@pytest.fixture(scope="module")
def settings(configs):
    return GatewaySettings.read(configs / "gateway.containers.yaml")


def mounts(service):
    """path in the container -> (source, whether it is read only)"""
    found = {}
    for volume in service.get("volumes", []):
        source, path, *mode = VARIABLE.sub(r"\1", volume).split(":")
        found[path] = (source, mode == ["ro"])
    return found


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_keys(stack, services):
    assert stack.keys() == {"name", "services", "networks", "volumes", "secrets"}
    assert services.keys() == {"serving", "gateway", "redis", "prometheus", "grafana"}
    for name, service in services.items():
        for key, value in service.items():
            assert isinstance(value, SERVICE[key]), f"{name}.{key}"
        health = service["healthcheck"]
        assert health.keys() == HEALTH.keys()
        assert all(isinstance(value, HEALTH[key]) for key, value in health.items())
        assert health["test"][0] in ("CMD", "CMD-SHELL")
        assert seconds(health["timeout"]) <= seconds(health["interval"])


def test_every_service_is_pinned_limited_and_restarted(services):
    for name, service in services.items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-bookworm)?", service["image"]), name
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
        assert service["restart"] == "unless-stopped"
        assert seconds(service["stop_grace_period"]) >= 20


def test_no_service_may_do_more_than_it_must(services):
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), f"{name} runs as root"
        assert all(read_only for source, read_only in mounts(service).values() if source not in ("logs", name))


def test_what_can_be_reached_can_from_this_machine(stack, services):
    """The gateway and Grafana, and the model server for serving.release, whose servers are asked over gRPC."""
    assert stack["networks"]["inside"] == {"internal": True}
    published = {name for name, service in services.items() if "ports" in service}
    assert published == {"serving", "gateway", "grafana"}
    for name, service in services.items():
        assert service["networks"] == ["inside"] + ["outside"] * ("ports" in service), name
        for port in service.get("ports", []):
            assert re.fullmatch(r"\$\{\w+:-127\.0\.0\.1:(\d+)\}:\1", port)


def test_what_services_name_is_there(stack, services, configs):
    named = {source for service in services.values() for source, _ in mounts(service).values()}
    assert {source for source in named if source.islower() and source != "."} == stack["volumes"].keys()
    assert {name for service in services.values() for name in service.get("secrets", [])} == stack["secrets"].keys()
    for service in services.values():
        assert service.get("depends_on", {}).keys() <= services.keys()
        for path in re.findall(r"/config/([\w./]+)", yaml.safe_dump(service)):
            assert (configs / path).exists(), path
            assert mounts(service)["/config"] == (".", True)


def test_secrets_are_files_and_in_no_variable(stack, text, services):
    for name, secret in stack["secrets"].items():
        assert secret.keys() == {"file"}
        assert VARIABLE.sub("SECRETS", secret["file"]) == f"SECRETS/{name}"
    values = {key: value for service in services.values() for key, value in service.get("environment", {}).items()}
    for key, value in values.items():
        assert not re.search("PASSWORD|SECRET|TOKEN|KEY", key.removesuffix("__FILE")) or key.endswith("__FILE")
        if key.endswith("__FILE"):
            assert value.removeprefix("/run/secrets/") in stack["secrets"]


def test_its_head_names_the_variables_and_the_secrets(stack, text):
    head = text.split("services:")[0]
    for name in {*VARIABLE.findall(text.replace("$$", ""))} | stack["secrets"].keys():
        assert re.search(rf"^#  +{re.escape(name)} ", head, re.MULTILINE), name


def test_the_gateways_files_are_mounted(stack, services, settings, configs):
    gateway = services["gateway"]
    there = mounts(gateway)
    secrets = {settings.access.tokens, settings.store.url_file, settings.privacy.key_file}
    assert secrets == {f"/run/secrets/{name}" for name in gateway["secrets"]}
    assert there[settings.items.rpartition("/")[0]] == ("SHOP_CATALOGUE", True)
    for log in (settings.logs.exposures, settings.logs.outcomes):
        assert there[log.rpartition("/")[0]] == ("logs", False)
    assert (configs / settings.rules.removeprefix("/config/")).is_file()
    host, _, port = settings.model.address.removeprefix("dns:///").partition(":")
    flags = parse_flags(services[host]["command"])
    assert int(port) == flags.port


def test_the_models_folder_is_one_that_models_config_describes(services, configs):
    flags = parse_flags(services["serving"]["command"])
    assert mounts(services["serving"])["/models"] == ("SHOP_MODELS", True)
    assert flags.model_config_file == "/models/models.config"
    assert 'base_path: "/models/ranker"' in (configs / "models.config").read_text(encoding="utf-8")
    # What serving.release writes is such a folder, and it reaches the server.
    release = ReleaseSettings.read(configs / "release.yaml")
    folder, file = pathlib.Path(release.folder), pathlib.Path(release.config_file)
    assert (folder.parent, folder.name, file.name) == (file.parent, "ranker", "models.config")
    (port,) = services["serving"]["ports"]
    assert list(release.servers) == [f"localhost:{port.rpartition(':')[2]}"] == [f"localhost:{flags.port}"]


def test_the_embedded_server_takes_the_same_flags(services, capsys):
    flags = parse_flags(services["serving"]["command"])
    assert capsys.readouterr().err == ""
    assert flags.enable_batching and flags.enable_grpc_healthcheck_service
    assert flags.allow_version_labels_for_unavailable_models and flags.model_config_file_poll_wait_seconds == 10


def test_the_benchmark_starts_the_server_as_the_stack_does(services, configs):
    assert set(FLAGS) <= set(services["serving"]["command"])
    assert configs / "batching.config" == BATCHING


def test_compose_yaml_has_the_same_server(stack, services, configs):
    compose = yaml.safe_load((configs / "compose.yaml").read_text(encoding="utf-8"))
    alone, serving = compose["services"]["serving"], services["serving"]
    assert (alone["image"], alone["entrypoint"]) == (serving["image"], serving["entrypoint"])
    own, here = (dict(flag.split("=", 1) for flag in service["command"]) for service in (alone, serving))
    assert own.pop("--model_config_file") != here.pop("--model_config_file") == "/models/models.config"
    assert own.items() <= here.items()
    # Either would take the other's containers for its own, and the same variable for another folder.
    assert stack["name"] != compose.get("name", configs.name)
    variables = (set(VARIABLE.findall(service["volumes"][0])) for service in (alone, serving))
    assert next(variables).isdisjoint(next(variables))


def test_health_checks_ask_what_there_is(services, settings):
    gateway = services["gateway"]
    assert f"'http://127.0.0.1:{settings.listen.port}{asgi.HEALTH}'" in gateway["healthcheck"]["test"][-1]
    assert seconds(gateway["stop_grace_period"]) > server._GRACE
    published = {
        name: port.rpartition(":")[2] for name, service in services.items() for port in service.get("ports", [])
    }
    assert published["gateway"] == str(settings.listen.port)
    assert f"127.0.0.1:{published['grafana']}/api/health" in services["grafana"]["healthcheck"]["test"][-1]


def test_redis(services, configs, stack):
    lines = [line.split(maxsplit=1) for line in (configs / "redis.conf").read_text(encoding="utf-8").splitlines()]
    options = {line[0]: line[1] for line in lines if line and not line[0].startswith("#")}
    assert options["aclfile"].removeprefix("/run/secrets/") in services["redis"]["secrets"]
    assert mounts(services["redis"])[options["dir"]] == ("redis", False)
    # Its user `default` has no password, and the gateway comes from another machine.
    assert options["protected-mode"] == "no"
    # The store's keys all have a time to live; what has none is never thrown away.
    assert options["maxmemory-policy"] == "volatile-lru"
    # A rewrite of the log on disk may need as much again.
    assert (options["maxmemory"], services["redis"]["mem_limit"]) == ("1gb", "2g")
