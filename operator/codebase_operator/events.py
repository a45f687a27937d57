"""The few Kubernetes Events that tell a job's story in `kubectl describe`. Pure: old mirror, new mirror."""

from codebase_index.resource import IndexingJobStatus
from codebase_operator.actions import Emit
from codebase_operator.conditions import Situation

_WARNINGS = frozenset({"Failed", "Blocked", "Retried"})


def events_of(s: Situation, new: IndexingJobStatus) -> list[Emit]:
    """Return the transitions between the job's mirror and its new status.

    The key names the transition itself, so an operator that restarts between event and status write
    tells nothing twice.
    """
    old, events = s.job.status, []

    def tell(reason: str, message: str, key: object) -> None:
        events.append(Emit(s.job, reason, message, f"{reason}/{key}", warning=reason in _WARNINGS))

    final = new.phase in ("Completed", "Failed", "Cancelled")
    if old.phase is None and not final:
        tell("Queued", s.place.message if s.place else "waiting for a slot", "")
    if s.admitted and not s.job.marked_admitted and not final:
        tell("Admitted", "the job got a slot", new.attempt)
    if new.started_at and not old.started_at:
        where = f" on node {new.node_name}" if new.node_name else ""
        tell("Started", f"pod {new.pod_name}{where} works on the job", "")
    if s.admitted and 0 < old.attempt < new.attempt and old.phase != "Suspended" and not final:
        tell("Retried", s.view.row.message if s.view.row else "", new.attempt)
    if new.phase != old.phase and new.phase in ("Blocked", "Suspended", "Completed", "Failed", "Cancelled"):
        since = s.view.row.blocked_since if s.view.row else s.now
        tell(new.phase, new.message or new.reason or "", since if new.phase == "Blocked" else new.attempt)
    return events
