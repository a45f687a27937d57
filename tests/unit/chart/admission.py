"""Admission policies, judged by CEL's own runtime as the API server does, in milliseconds and without a cluster.

The cluster's test asks the API server itself about the same objects: tests/integration/test_admission.py.
"""

import functools
import re
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from codebase_operator.model.quantities import number
from tests.unit.chart.rendering import Object

_NAMES: Final = ("object", "oldObject", "request", "variables")


def _compare(one: float, other: float) -> int:
    return (one > other) - (one < other)


@functools.cache
def _environment() -> Any:
    quantity = cel.FunctionDecl("quantity", [
        cel.Overload("quantity_string", cel.Type.DOUBLE, [cel.Type.STRING], False, lambda t: float(number(t))),
    ])  # fmt: skip
    compare = cel.FunctionDecl("compareTo", [
        cel.Overload("compare_quantities", cel.Type.INT, [cel.Type.DOUBLE, cel.Type.DOUBLE], True, _compare),
    ])  # fmt: skip
    return cel.NewEnv(
        variables=dict.fromkeys(_NAMES, cel.Type.DYN), functions=[quantity, compare],
        extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings()],
    )  # fmt: skip


@functools.cache
def _compiled(expression: str) -> Any:
    return _environment().compile(expression)


def _value(expression: str, data: Object) -> Any:
    found = _compiled(expression).eval(data=data)
    if found.type() == cel.Type.ERROR:
        raise ValueError(f"{found.value()} in: {expression}")
    return found.plain_value()


def denials(policy: Object, o: Object, user: str = "somebody", before: Object | None = None) -> list[str]:
    """Return the messages of the validations that refuse an object. Raises ValueError where one has an error.

    `before` is the object that it replaces; None: it is made.
    """
    spec = policy["spec"]
    operation = "CREATE" if before is None else "UPDATE"
    data: Object = {
        "object": o, "oldObject": before, "request": {"operation": operation, "userInfo": {"username": user}},
        "variables": {},
    }  # fmt: skip
    if not all(_value(condition["expression"], data) for condition in spec.get("matchConditions", [])):
        return []
    return [v["message"] for v in spec["validations"] if not _judge(v["expression"], spec["variables"], data)]


def _judge(expression: str, variables: list[Object], data: Object) -> bool:
    """Evaluate a validation with the variables that it uses, which are not evaluated otherwise."""
    used = _used_by(expression, variables)
    for variable in variables:
        if variable["name"] in used:
            data["variables"][variable["name"]] = _value(variable["expression"], data)
    return bool(_value(expression, data))


def _used_by(expression: str, variables: list[Object]) -> set[str]:
    used: set[str] = set()
    for variable in reversed(variables):  # one may use those before it
        texts = [expression, *(v["expression"] for v in variables if v["name"] in used)]
        if any(re.search(rf"variables\.{variable['name']}\b", text) for text in texts):
            used.add(variable["name"])
    return used
