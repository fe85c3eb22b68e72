"""What a container image says that it holds: its registry is asked, nothing is pulled."""

import json
import platform
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scoreline import __version__

from .errors import UsageError

EXTRAS_LABEL = "scoreline.extras"
VERSION_LABEL = "scoreline.version"

_TIMEOUT_SECS = 5.0
_ACCEPT = ", ".join(
    f"application/vnd.{kind}"
    for kind in (
        "oci.image.index.v1+json",
        "oci.image.manifest.v1+json",
        "docker.distribution.manifest.list.v2+json",
        "docker.distribution.manifest.v2+json",
    )
)
_LOOPBACK = ("localhost", "127.0.0.1")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class ImageFacts:
    """What an image says of itself.

    Attributes:
        version: of scoreline in it; None if it does not say.
        extras: of scoreline that were installed; None if it does not say.
        python: the version of Python; None if it does not say.
    """

    version: str | None
    extras: frozenset[str] | None
    python: str | None


class ImageUnknownError(Exception):
    """A registry could not be asked, or does not have the image; the message says why."""


def describe_image(image: str) -> ImageFacts:
    """Asks a registry what an image holds.

    Args:
        image: `HOST/PATH:TAG` or `HOST/PATH@DIGEST`.

    Raises:
        ImageUnknownError: the registry does not answer, or not to us.
    """
    host, path, reference = _parts(image)
    try:
        manifest = _get(host, f"{path}/manifests/{reference}")
        if "manifests" in manifest:
            manifest = _get(host, f"{path}/manifests/{_linux(manifest)}")
        config = _get(host, f"{path}/blobs/{manifest['config']['digest']}").get("config", {})
    except (OSError, ValueError, KeyError) as error:
        raise ImageUnknownError(f"{host}: {type(error).__name__}: {error}") from None
    labels = config.get("Labels") or {}
    variables = dict(one.split("=", 1) for one in config.get("Env") or ())
    extras = labels.get(EXTRAS_LABEL)
    return ImageFacts(
        labels.get(VERSION_LABEL),
        None if extras is None else frozenset(filter(None, extras.split(","))),
        variables.get("PYTHON_VERSION"),
    )


def check_image(image: str, facts: ImageFacts, extras: frozenset[str]) -> None:
    """Raises UsageError if an image says that it lacks what a job needs.

    Args:
        image: its name.
        facts: what it says of itself.
        extras: of scoreline that the job needs.
    """
    problems = []
    missing = sorted(extras - facts.extras) if facts.extras is not None else []
    if missing:
        have = ", ".join(sorted(facts.extras or ())) or "none"
        problems.append(
            f"lacks the extra {', '.join(missing)}, which the job needs (it has {have})"
        )
    if facts.version not in (None, __version__):
        problems.append(f"holds scoreline {facts.version}, and this is {__version__}")
    here = platform.python_version()
    if facts.python is not None and facts.python.split(".")[:2] != here.split(".")[:2]:
        problems.append(f"has Python {facts.python}, and this is {here}: pickles would not load")
    if problems:
        wanted = ",".join(sorted(extras | (facts.extras or frozenset())))
        raise UsageError(
            f"--sdk_container_image={image}: the image {'; and '.join(problems)}. Build one with "
            f"--build-arg EXTRAS={wanted} from this version's templates/worker/Dockerfile."
        )


def _parts(image: str) -> tuple[str, str, str]:
    """Host, path and tag or digest.

    >>> _parts("europe-docker.pkg.dev/p/repo/scoreline:1")
    ('europe-docker.pkg.dev', 'p/repo/scoreline', '1')
    >>> _parts("scoreline")
    ('registry-1.docker.io', 'library/scoreline', 'latest')
    """
    host, slash, path = image.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost"):
        path = image if slash else f"library/{image}"
        host = "registry-1.docker.io"
    if "@" in path:
        path, _, reference = path.partition("@")
        return host, path.partition(":")[0], reference
    name, _, tag = path.rpartition("/")[2].partition(":")
    folder = path.rpartition("/")[0]
    return host, f"{folder}/{name}" if folder else name, tag or "latest"


def _linux(index: dict[str, Any]) -> str:
    """The digest of the image for Dataflow's machines."""
    digests = {
        (one.get("platform", {}).get("os"), one.get("platform", {}).get("architecture")): str(
            one["digest"]
        )
        for one in index["manifests"]
    }
    return digests.get(("linux", "amd64")) or next(iter(digests.values()))


def _get(host: str, path: str) -> dict[str, Any]:
    """One JSON document of a registry."""
    is_here = (urlsplit(f"//{host}").hostname or "") in _LOOPBACK  # as Docker has it: no TLS there
    request = urllib.request.Request(f"{'http' if is_here else 'https'}://{host}/v2/{path}")
    request.add_header("Accept", _ACCEPT)
    token = None if is_here else _token(host)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECS) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise OSError(f"HTTP {error.code} for {path}") from None
    return found


def _token(host: str) -> str | None:
    """Google's registries take the token that all its services take; others are asked without."""
    if not host.endswith((".pkg.dev", "gcr.io")):
        return None
    import google.auth
    import google.auth.transport.requests

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        if not credentials.valid:
            credentials.refresh(google.auth.transport.requests.Request())
    except Exception as error:  # no credentials, no network: whatever a library raises
        raise OSError(f"no credentials to ask with: {error}") from None
    token: str | None = credentials.token
    return token
