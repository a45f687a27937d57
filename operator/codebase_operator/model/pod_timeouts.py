"""How long a pod may be silent, late or slow to end before the operator replaces or deletes it. Pure.

Each has a default that suits most clusters, and a description of what it protects from: nobody has to guess which
one to change. The chart's `operator.podTimeouts` has the same names.
"""

import json
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

Seconds = Annotated[timedelta, Field(gt=timedelta(0))]
"""In JSON a number of seconds."""


class PodTimeouts(BaseModel):
    """The timeouts of indexer pods. In JSON each name ends in `Seconds`, as in `heartbeatSeconds`."""

    model_config = ConfigDict(
        alias_generator=lambda name: f"{to_camel(name)}Seconds", populate_by_name=True, extra="forbid", frozen=True
    )

    heartbeat: Annotated[timedelta, Field(ge=timedelta(seconds=2))] = Field(
        default=timedelta(seconds=4),
        description="""
        A pod at work without a heartbeat for so long counts as lost or hanging, and is replaced.

        Heartbeats come every second. 4 s, a cycle of the loop and a pod's start fit into the 10 s in which a job
        has to go on after the loss of its node. Raise it where busy nodes keep healthy pods from sending for
        seconds: each false alarm costs the files in flight.
        """,
    )
    startup: Seconds = Field(
        default=timedelta(seconds=15),
        description="""
        The same for a container that was started again since its last heartbeat: it imports its program first.

        Raise it where images lie on slow disks.
        """,
    )
    database_return: Seconds = Field(
        default=timedelta(seconds=8),
        description="""
        How long after the database's return no heartbeat is missed.

        While it was away nobody could send one; indexers reconnect within a second or two.
        """,
    )
    claim: Seconds = Field(
        default=timedelta(minutes=2),
        description="""
        A container that has run for so long without claiming its job will not claim it any more, and is replaced.

        It claims it within seconds of its start. Not counted while the database is away.
        """,
    )
    restart: Seconds = Field(
        default=timedelta(seconds=3),
        description="""
        How long the kubelet may take to start an ended container again before the pod is replaced.

        It starts one within a second or two of its first end; later ones wait for 10 s and more, too long for a
        job that has to go on within 10 s.
        """,
    )
    exit: Seconds = Field(
        default=timedelta(seconds=10),
        description="""
        How long a pod may outlive its job, so that it ends by itself, before it is deleted.

        It ends within a second.
        """,
    )
    termination: Seconds = Field(
        default=timedelta(seconds=15),
        description="""
        How long after its grace period a pod may still be there before it is removed by force.

        Its node is lost then, or does not confirm. Until it is gone the job's slot is taken.
        """,
    )

    @classmethod
    def parse(cls, text: str) -> "PodTimeouts":
        """Read a JSON object; what it lacks has its default. Raises ValueError."""
        try:
            return cls.model_validate(json.loads(text or "{}"))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


DEFAULT_TIMEOUTS = PodTimeouts()
