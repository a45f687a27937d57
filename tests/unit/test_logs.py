import json
import logging
from uuid import UUID

from codebase_index.logs import JsonFormatter


def line(**extra: object) -> dict[str, object]:
    fields = {"name": "a.b", "levelname": "INFO", "msg": "batch %s", "args": ("one",)}
    record = logging.makeLogRecord({**fields, **extra})
    return dict(json.loads(JsonFormatter("indexer").format(record)))


def test_a_record_is_one_line_of_json_with_its_extra_fields() -> None:
    entry = line(job_id=UUID(int=7), files=3)
    assert entry["message"] == "batch one"
    assert (entry["program"], entry["job_id"], entry["files"]) == ("indexer", str(UUID(int=7)), 3)
    assert str(entry["time"]).endswith("+00:00")


def test_several_reasons_are_logged_each() -> None:
    assert line(missing=("no Landlock", "no seccomp"))["missing"] == ["no Landlock", "no seccomp"]


def test_objects_that_a_library_attaches_are_left_out() -> None:
    assert "settings" not in line(settings=object())


def test_a_line_of_the_log_is_one_line_of_visible_letters_and_loses_nothing() -> None:
    hostile = "a\n\x1b[2J\x7f\x85\u2028\u202e\u200b\U000e0041\udcff é漢"
    record = logging.makeLogRecord({"msg": hostile, "levelname": "INFO", "path": hostile})
    text = JsonFormatter("indexer").format(record)
    assert text.isascii() and text.isprintable()
    assert json.loads(text)["message"] == json.loads(text)["path"] == hostile
