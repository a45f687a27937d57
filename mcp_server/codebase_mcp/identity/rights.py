"""Rights and grants: what a caller may do, and where. Pure.

A right is a verb on a resource, as RBAC of Kubernetes has them, so that a cluster's own rules can give it. Code
has a resource without objects behind it, `indexes`; its names are those of `codebase_index.api.job.index_name`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from codebase_index.api.job import GROUP, PLURAL

INDEXES: Final = "indexes"
"""The virtual resource that stands for code: no definition of it is installed, rules may name it all the same."""


class Right(Enum):
    """A verb on a resource of the group `indexing.codebase-mcp.io`."""

    READ = ("get", INDEXES)  # search, read and list code
    START = ("create", PLURAL)
    STATUS = ("get", PLURAL)
    LIST = ("list", PLURAL)
    CANCEL = ("patch", PLURAL)
    DELETE = ("delete", PLURAL)  # of an index
    PRIORITIZE = ("prioritize", PLURAL)  # a start before others'

    @property
    def verb(self) -> str:
        """What is done."""
        return self.value[0]

    @property
    def resource(self) -> str:
        """The plural name of what it is done to, without its group."""
        return self.value[1]

    @property
    def changes(self) -> bool:
        """Whether it changes anything: read-only servers let nobody use it."""
        return self not in (Right.READ, Right.STATUS, Right.LIST)

    def __str__(self) -> str:
        return f"`{self.verb}` on {self.resource}.{GROUP}"


class Role(StrEnum):
    """A usual set of rights, for callers whose rights are not in Kubernetes."""

    READER = "reader"
    WRITER = "writer"
    OWNER = "owner"

    @property
    def rights(self) -> frozenset[Right]:
        """What it may: each role may what the one before may."""
        return _RIGHTS_OF_ROLES[self]


_READER: Final = frozenset([Right.READ, Right.STATUS, Right.LIST])
_WRITER: Final = _READER | {Right.START, Right.CANCEL}
_RIGHTS_OF_ROLES: Final = {Role.READER: _READER, Role.WRITER: _WRITER, Role.OWNER: frozenset(Right)}


@dataclass(frozen=True)
class Question:
    """May somebody use a right in a namespace? Of `index` alone, or, where it is None, of everything in it."""

    right: Right
    namespace: str
    index: str | None = None


@dataclass(frozen=True)
class Grant:
    """Rights in some namespaces; None: in all. With `indexes` it is the right to read those, and no other."""

    rights: frozenset[Right]
    namespaces: frozenset[str] | None = None
    indexes: frozenset[str] | None = None

    def covers(self, question: Question) -> bool:
        """Say whether this grant is a yes."""
        if question.right not in self.rights:
            return False
        if self.namespaces is not None and question.namespace not in self.namespaces:
            return False
        if self.indexes is None:
            return True
        return question.right is Right.READ and question.index in self.indexes


EVERYTHING: Final = Grant(frozenset(Right))


def covered(grants: Iterable[Grant], question: Question) -> bool:
    """Say whether one of these grants is a yes; without any it is no."""
    return any(grant.covers(question) for grant in grants)
