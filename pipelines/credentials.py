"""Makes Beam's flag --no_auth do what it says."""

from apache_beam.internal.gcp.auth import _Credentials
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

_NONE_FOUND = None  # what Beam remembers when it has looked for credentials in vain


def use_credentials(options: PipelineOptions) -> None:
    """Lets this process look for Google's credentials, or not at all under --no_auth.

    Beam 2.77 knows the flag and never reads it: without credentials it tries for 30 seconds to
    find some before it connects anonymously, as to a public bucket or an emulator.
    """
    with _Credentials._credentials_lock:
        if options.view_as(GoogleCloudOptions).no_auth:
            _Credentials._credentials, _Credentials._credentials_init = _NONE_FOUND, True
        elif _Credentials._credentials is _NONE_FOUND:  # a later run may want to look
            _Credentials._credentials_init = False
