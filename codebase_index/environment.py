"""Reads settings from environment variables: what all programs read alike."""

from collections.abc import Callable, Mapping


def flag(env: Mapping[str, str], name: str, error: Callable[[str], Exception], *, default: bool = False) -> bool:
    """Return whether a variable is true, in any letter case; unset or empty, it is the default.

    Raises `error` with what is wrong for any other text: one that a program takes for "off" is a limit that is not
    there, or a right that is missing, and nobody is told.
    """
    text = (env.get(name) or str(default)).lower()
    if text not in ("true", "false"):
        raise error(f"{name} is {text!r}; set it to true or false")
    return text == "true"
