"""Every kind of operation there is, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from app.kinds import activate, add_service, create, delete, prolong, restore
from app.kinds.kind import Kind
from app.operations.call import Call
from app.operations.operation import Operation


class KindName(StrEnum):
    """What an operation does; each is one call of the upstream, or one for each order of the rental."""

    CREATE = create.KIND.name
    ACTIVATE = activate.KIND.name
    RESTORE = restore.KIND.name
    PROLONG = prolong.KIND.name
    ADD_SERVICE = add_service.KIND.name
    DELETE = delete.KIND.name


_KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (create.KIND, activate.KIND, restore.KIND, prolong.KIND, add_service.KIND, delete.KIND)
}

SPENDING = sorted(kind.name for kind in _KINDS.values() if kind.spends)
"""The names of the kinds that cost money."""


def kind_of(operation: Operation) -> Kind:
    """The kind of an operation."""
    return _KINDS[operation.kind]


def call_of(operation: Operation) -> Call:
    """The upstream call of an operation's present step."""
    return kind_of(operation).call(operation)
