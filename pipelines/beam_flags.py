"""The flags that Apache Beam knows, so that a mistyped one is found without importing Beam.

Beam itself only logs a flag that it does not know and runs on with the default, and importing it
to ask costs about a second. So this is a snapshot: of the option classes of Beam 2.77 for Python,
held against the installed Beam by a test that names what is missing or superfluous, and of the
options of Flink that only Beam's Java side knows.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType


class Arity(Enum):
    """How a flag is written and what its parser expects."""

    VALUE = auto()  # one value; of ours, given once
    VALUES = auto()  # one value each time it is given, any number of times
    STORE_TRUE = auto()  # stands alone and sets something to true
    STORE_FALSE = auto()  # stands alone and sets something to false, as --no_use_public_ips does
    ON_BY_DEFAULT = auto()  # a boolean of Flink's that is true unless --x=false is given

    @property
    def takes_value(self) -> bool:
        """Says whether the flag has a value that is not a boolean."""
        return self in (Arity.VALUE, Arity.VALUES)


def _table(**names: str) -> Mapping[str, Arity]:
    """Turns words under the name of an arity into {"--word": arity}."""
    return MappingProxyType(
        {f"--{name}": Arity[arity] for arity, words in names.items() for name in words.split()}
    )


# Every option class of apache_beam.options.pipeline_options and apache_beam.runners.render. The
# ones of Dask and of Beam YAML are left out: they need packages that scoreline does not install.
# Spelled with underscores (Beam has --job-server-timeout in both spellings).
BEAM_FLAGS: Mapping[str, Arity] = _table(
    VALUE="""
    application_id artifact_endpoint artifact_port artifacts_dir autoscaling_algorithm
    azure_connection_string azure_managed_identity_client_id beam_services blob_service_endpoint
    bootstrap_servers cloud_build_machine_type create_from_snapshot dataflow_endpoint
    dataflow_job_file dataflow_kms_key default_sdk_harness_log_level direct_num_workers
    direct_runner_bundle_repeat direct_running_mode direct_test_splits disk_provisioned_iops
    disk_provisioned_throughput_mibps disk_size_gb disk_type docker_registry_push_url dry_run
    element_processing_timeout_minutes environment_cache_millis environment_config
    environment_type expansion_port flexrs_goal flink_job_server_jar flink_master flink_version
    gbek hdfs_host hdfs_port hdfs_user impersonate_service_account jar_cache_dir job_endpoint
    job_name job_port job_server_java_launcher job_server_timeout kafka_streams_job_server_jar
    machine_type maven_repository_url max_cache_memory_usage_mb max_num_workers max_parallelism
    min_cpu_platform network num_workers number_of_worker_harness_threads on_success_matcher
    output_executable_path parallelism pickle_library prebuild_sdk_container_base_image
    prebuild_sdk_container_engine prism_beam_version_override prism_location prism_log_kind
    prism_log_level profile_location profile_postprocess_interval_sec profile_sample_rate
    profile_temp_location profile_upload_interval_sec profiler_agent profiler_stop_after_sec
    project pubsub_root_url region render_edge_attributes render_highlight_attributes
    render_node_attributes render_port requirements_cache requirements_file runner
    s3_access_key_id s3_api_version s3_endpoint_url s3_region_name s3_secret_access_key
    s3_session_token s3_verify sdk_container_image sdk_location sdk_worker_parallelism
    service_account_email setup_file spark_job_server_jar spark_master_url spark_rest_url
    spark_version staging_location subnetwork temp_location template_location
    transform_name_mapping type_check_additional type_check_strictness
    update_compatibility_version user_agent wait_until_finish_duration worker_disk_type
    worker_harness_container_image worker_machine_type worker_region worker_zone zone
    """,
    VALUES="""
    beam_plugin beam_plugins dataflow_service_option dataflow_service_options environment_option
    environment_options experiment experiments extra_package extra_packages file_to_stage
    files_to_stage gcp_oauth_scope gcp_oauth_scopes gcs_custom_audit_entries
    gcs_custom_audit_entry job_server_jvm_properties job_server_jvm_property label labels
    profiler_extra_arg profiler_extra_args profiler_extra_env_var profiler_extra_env_vars
    render_leaf_composite_nodes render_output resource_hint resource_hints
    sdk_harness_container_image_overrides sdk_harness_log_level_overrides
    """,
    STORE_TRUE="""
    allow_non_deterministic_key_coders allow_unsafe_triggers auto_unique_labels
    direct_embed_docker_python disable_beartype enable_artifact_caching
    enable_bucket_read_metric_counter enable_bucket_write_metric_counter
    enable_gcsio_blob_generation enable_hot_key_logging enable_streaming_engine
    exclude_infer_dataclass_field_type flink_submit_uber_jar
    force_cloudpickle_deterministic_coders hdfs_full_urls log_proto no_auth
    no_gcsio_throttling_counter no_wait_until_finish performance_runtime_type_check profile_cpu
    profile_memory profiler_stop_after_crash requirements_cache_only_sources runtime_type_check
    s3_disable_ssl save_main_session spark_submit_uber_jar streaming update use_public_ips
    use_transform_service
    """,
    STORE_FALSE="""
    no_direct_runner_use_stacked_bundle no_pipeline_type_check no_save_main_session
    no_use_public_ips
    """,
)

# FlinkPipelineOptions and VersionDependentFlinkPipelineOptions of Beam's Flink runner, read from
# the classes of beam-runners-flink-1.19:2.70.0, less what BEAM_FLAGS has (flink_master, ...).
# Names are what Beam's job server makes of the Java ones, hence the "m_b".
FLINK_FLAGS: Mapping[str, Arity] = _table(
    VALUE="""
    auto_watermark_interval checkpoint_timeout_millis checkpointing_interval checkpointing_mode
    execution_mode_for_batch execution_retry_delay file_input_split_max_size_m_b flink_conf_dir
    job_check_interval_in_secs latency_tracking_interval max_bundle_size max_bundle_time_mills
    min_pause_between_checkpoints num_concurrent_checkpoints number_of_execution_retries
    report_checkpoint_duration savepoint_path shutdown_sources_after_idle_ms state_backend
    state_backend_factory state_backend_storage_path
    """,
    STORE_TRUE="""
    allow_non_restored_state auto_balance_write_files_sharding_enabled disable_metrics
    enable_stable_input_drain externalized_checkpoints_enabled faster_copy
    finish_bundle_before_checkpointing force_unaligned_checkpoint_enabled object_reuse
    re_iterable_group_by_key_result retain_externalized_checkpoints_on_cancellation
    unaligned_checkpoint_enabled use_data_stream_for_batch
    """,
    ON_BY_DEFAULT="""
    attached_mode fail_on_checkpointing_errors force_slot_sharing_group operator_chaining
    """,
)
