"""Settings that are true or false, read alike by all programs."""

from pathlib import Path

import pytest

from codebase_embedded import settings as embedded
from codebase_index.environment import flag
from codebase_operator import settings as operator


@pytest.mark.parametrize(
    ("text", "meant"), [("true", True), ("False", False), ("TRUE", True), ("", None), (None, None)]
)
@pytest.mark.parametrize("default", [True, False])
def test_a_flag_is_read_in_any_letter_case_and_empty_is_the_default(
    text: str | None, meant: bool | None, default: bool
) -> None:
    env = {} if text is None else {"X": text}
    assert flag(env, "X", ValueError, default=default) is (default if meant is None else meant)


@pytest.mark.parametrize("text", ["yes", "1", "on", "ture", " true"])
def test_what_is_neither_true_nor_false_is_refused_by_the_name_of_the_variable(text: str) -> None:
    with pytest.raises(LookupError, match=f"X is {text!r}; set it to true or false"):
        flag({"X": text}, "X", LookupError)


def test_each_program_refuses_it_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(embedded.SettingsInvalid, match="CODEBASE_USER_CREDENTIALS"):
        embedded.Settings.from_env({"CODEBASE_USER_CREDENTIALS": "yes", "HOME": str(tmp_path)})
    template = tmp_path / "template.json"
    template.write_text('{"image": "x"}')
    given = {
        "CODEBASE_NAMESPACE": "x", "CODEBASE_POD_TEMPLATE": str(template), "CODEBASE_SERVER_DELETES": "yes",
        "CODEBASE_DATABASE_URL": "postgresql://u:p@host/x",
    }  # fmt: skip
    with pytest.raises(operator.SettingsInvalid, match="CODEBASE_SERVER_DELETES is 'yes'"):
        operator.Settings.from_env(given)
