"""What a pipeline pushed is released, and the next pipeline is configured by what became stable."""

import pathlib

import yaml

from serving.release.release import Release
from serving.release.settings import ReleaseSettings
from serving.release.state import State
from serving.server.embedded import Server
from serving.server.flags import Flags
from tfx_pipeline import settings as settings_lib

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def test_a_promoted_model_hands_its_settings_to_the_next_run(tiny, tmp_path):
    run = tiny.last_run()
    pushed = pathlib.Path(run["pushed"]["path"])
    file, config = tmp_path / "release.yaml", tmp_path / "models.config"

    def release(*servers):
        content = {
            "model": run["model_name"],
            "folder": "released",
            "config_file": config.name,
            "journal": "releases.jsonl",
            "winner_file": "winner.yaml",
            "servers": list(servers),
            "grace_seconds": 0.05,
        }
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return Release(ReleaseSettings.read(file), "anna")

    version = release("127.0.0.1:1").stage(pushed).version
    assert version == int(pushed.name)
    with Server(Flags(port=0, rest_api_port=-1, model_config_file=str(config), max_num_load_retries=0)) as server:
        assert release(f"127.0.0.1:{server.port}").promote() == State(version, version)
    following = {"name": "next", "include": [str(CONFIGS / "data/synthetic.yaml"), "winner.yaml"]}
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(following), encoding="utf-8")
    made, then = settings_lib.load(tiny.folder / "tiny.yaml"), settings_lib.load(tmp_path / "next.yaml")
    assert (then.model, then.transform, then.train) == (made.model, made.transform, made.train)
    assert then.train != settings_lib.TrainSettings() and then.model.dimension == 16
