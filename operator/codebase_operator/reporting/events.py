"""The transitions that tell a job's story, in `kubectl describe` and in the log. Pure: old mirror, new mirror."""

from typing import Any

from codebase_index.api.resource import IndexingJobStatus
from codebase_operator.model.actions import Emit
from codebase_operator.model.snapshot import FINAL_PHASES
from codebase_operator.reporting.conditions import DEGRADED, SUSPENDED, StatusInput, queue_full

_WARNINGS = frozenset({"Failed", "Blocked", "Retried"})


def events_of(s: StatusInput, new: IndexingJobStatus) -> list[Emit]:
    """Return the transitions between the job's mirror and its new status.

    The key names the transition itself, so an operator that restarts between event and status write
    tells nothing twice.
    """
    old, row, events = s.job.status, s.view.row, []

    def tell(reason: str, message: str, key: object) -> None:
        warning = reason in _WARNINGS
        events.append(Emit(s.job, reason, message, f"{reason}/{key}", warning, _facts(s, new)))

    final = new.phase in FINAL_PHASES
    if old.phase is None and not final:
        full = queue_full(s.queue_limit) if s.queue_limit is not None else "waiting for a slot"
        tell("Queued", s.position.message if s.position else full, "")
    if old.phase in ("Blocked", "Suspended") and new.phase in ("Pending", "Running"):
        tell("Resumed", f"no longer {old.phase.lower()}; {new.message}", _ended(s, old.phase))
    if s.admitted and not s.job.status_admitted and not final:
        tell("Admitted", "the job got a slot", new.attempt)
    if new.started_at and not old.started_at:
        where = f" on node {new.node_name}" if new.node_name else ""
        tell("Started", f"pod {new.pod_name}{where} works on the job", "")
    if s.admitted and 0 < old.attempt < new.attempt and old.phase != "Suspended" and not final:
        tell("Retried", row.message if row else "", new.attempt)
    if new.phase != old.phase and (final or new.phase in ("Blocked", "Suspended")):
        tell(new.phase or "", new.message or new.reason or "", _began(s, new))
    return events


def _began(s: StatusInput, new: IndexingJobStatus) -> str:
    """Name the beginning of a phase by what is the same in each pass that sees it, and differs the next time."""
    if new.phase == "Blocked":
        return str(s.view.row.blocked_since if s.view.row else new.message)
    # A job that is suspended again before it had a slot has the same attempt, but a new generation.
    return f"{new.attempt}/{s.job.generation}" if new.phase == "Suspended" else str(new.attempt)


def _ended(s: StatusInput, phase: str) -> str:
    """Name the end of a phase by its beginning in the mirror, which stays until the end is written."""
    condition = s.job.condition(DEGRADED if phase == "Blocked" else SUSPENDED)
    return str(condition.last_transition_time if condition else s.job.generation)


def _facts(s: StatusInput, new: IndexingJobStatus) -> dict[str, Any]:
    """Return the fields of the log line. What is not known is left out of it."""
    row, progress = s.view.row, new.progress
    facts: dict[str, Any] = {
        "job": s.job.name, "job_id": s.job.id,
        "repository": str(s.job.spec.source) if s.job.spec else None, "attempt": new.attempt,
        "pod": new.pod_name, "node": new.node_name, "reason": new.reason,
    }  # fmt: skip
    if progress is not None:
        facts |= {"files_total": progress.files_total, **progress.counts()}
    if row is not None:
        facts |= {"files_repeated": row.files_repeated, "failures": row.failures}
    return facts
