"""Lets Beam's own BigQuery connector reach an emulator, which it cannot by itself.

Beam makes its clients without a word about where the service is: they are given here what a user
of the emulator would give them. What Beam does with them is its own.
"""

import os
from typing import Any

import google.auth
from apache_beam.io.gcp import bigquery, bigquery_tools
from apache_beam.io.gcp.internal.clients import bigquery as apitools
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery_storage_v1 as storage
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
    BigQueryReadGrpcTransport,
)

from scoreline.transforms.bigquery.storage_channel import storage_channel


def reach_emulator(project: str) -> None:
    """Points Beam's connector at the emulator that the two variables name."""
    url = os.environ["BIGQUERY_EMULATOR_HOST"]

    read_class = storage.BigQueryReadClient  # Beam's module is the same: its name is replaced

    def default(*_: Any, **__: Any) -> tuple[AnonymousCredentials, str]:
        return AnonymousCredentials(), project

    def apitools_client(_: Any) -> apitools.BigqueryV2:
        return apitools.BigqueryV2(
            url=f"{url}/bigquery/v2/",
            http=bigquery_tools.get_new_http(),
            get_credentials=False,
            response_encoding="utf8",
        )

    def read_client() -> storage.BigQueryReadClient:
        return read_class(transport=BigQueryReadGrpcTransport(channel=storage_channel()))

    def keep_datasets(*_: Any, **__: Any) -> None:
        """The emulator ignores the label by which Beam finds its own datasets: all would go."""

    google.auth.default = default
    bigquery_tools.BigQueryWrapper._bigquery_client = staticmethod(apitools_client)
    bigquery.bq_storage.BigQueryReadClient = read_client
    bigquery_tools.BigQueryWrapper._clean_up_beam_labelled_temporary_datasets = keep_datasets
