"""Which Secrets a job may name in git.secretRef: those that are labelled for it, for the hosts of an annotation.

Without this, anybody who may create a job could send any Secret of the namespace, the database's too, to a git
host as its password. Only metadata is looked at, never what a Secret holds. Pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from codebase_index.api.git_url import GitUrl, GitUrlInvalid
from codebase_index.api.job import ANNOTATION_GIT_HOSTS, LABEL_GIT_CREDENTIALS
from codebase_operator.model.snapshot import Job
from codebase_operator.settings import PodTemplate

_HELM: Final = "sh.helm.release."
"""How the names of the Secrets begin in which helm keeps a release, values included."""


def secret_of(job: Job) -> str | None:
    """Return the name of the Secret that a job names."""
    git = job.spec.source.git if job.spec else None
    return git.secret_ref.name if git and git.secret_ref else None


def release_secrets(template: PodTemplate) -> frozenset[str]:
    """Return the names of the Secrets that belong to the release itself."""
    names = {secret.get("name") for secret in template.image_pull_secrets}
    for variable in template.env:
        names.add(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name"))
    for volume in template.volumes:
        names.add((volume.get("secret") or {}).get("secretName"))
        for source in (volume.get("projected") or {}).get("sources") or ():
            names.add((source.get("secret") or {}).get("name"))
    return frozenset(name for name in names if name)


def secret_problem(job: Job, metadata: Mapping[str, Any] | None, own: frozenset[str]) -> str | None:
    """Return why a job may not use the Secret that it names, and what to do; None if it may.

    `metadata` is the Secret's; None: there is no such Secret.
    """
    name = secret_of(job)
    if name is None:
        return None
    assert job.spec is not None and job.spec.source.git is not None
    secret, kubectl = f"Secret {name} (spec.source.git.secretRef)", f"kubectl -n {job.namespace}"
    if name in own or name.startswith(_HELM):
        return f"{secret} belongs to the release and is given to no job; name one that was made for git"
    try:
        url = GitUrl.parse(job.spec.source.git.url)
    except GitUrlInvalid as error:
        return f"{secret} is given to no job with such an address: {error}"
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    allow = (
        f"{kubectl} label secret {name} {LABEL_GIT_CREDENTIALS}=true && "
        f"{kubectl} annotate --overwrite secret {name} {ANNOTATION_GIT_HOSTS}={host}"
    )
    if metadata is None:
        keys = "--from-literal=username=NAME --from-literal=password=TOKEN"
        return f"{secret} does not exist: {kubectl} create secret generic {name} {keys} && {allow}"
    if (metadata.get("labels") or {}).get(LABEL_GIT_CREDENTIALS) != "true":
        return f"{secret} is not marked as one for git; whoever may give it to this host does so by: {allow}"
    hosts = [entry.strip().lower() for entry in (_annotation(metadata) or "").split(",") if entry.strip()]
    if host not in hosts and f"{url.host}:{url.effective_port}" not in hosts:
        more = ",".join([*hosts, host])
        return (
            f"{secret} is for {', '.join(hosts) or 'no host'}, not for {host}; to allow it: "
            f"{kubectl} annotate --overwrite secret {name} {ANNOTATION_GIT_HOSTS}={more}"
        )
    return None


def _annotation(metadata: Mapping[str, Any]) -> str | None:
    return (metadata.get("annotations") or {}).get(ANNOTATION_GIT_HOSTS)
