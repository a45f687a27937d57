"""The id of a job: the uid of its custom resource."""

from uuid import UUID


def job_uuid(text: str) -> UUID | None:
    """Return the id, or None for what is not a UUID in its usual form of 36 characters."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None
