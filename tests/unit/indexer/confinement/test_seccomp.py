"""The filter of system calls, run as the kernel would run it, on both machines that we build for."""

import struct
from collections.abc import Sequence

import pytest

from codebase_indexer.confinement import seccomp
from codebase_indexer.confinement.seccomp import ALLOWED, ARCHITECTURES, FATAL, Architecture

ALLOW, KILL, FAIL = 0x7FFF_0000, 0x8000_0000, 0x0005_0026
PID = 4711

machines = pytest.mark.parametrize("machine", ARCHITECTURES.values(), ids=ARCHITECTURES)


def verdict(machine: Architecture, number: int, arguments: Sequence[int] = (), audit: int | None = None) -> int:
    """What the filter says of a call: an interpreter of the instructions that it uses."""
    data = struct.pack("<IIQ6Q", number, audit or machine.audit, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    steps = list(struct.iter_unpack("<HBBI", seccomp.program(machine, PID)))
    at = value = 0
    while True:
        code, then, otherwise, operand = steps[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == 0x15:
            at += then if value == operand else otherwise
        elif code == 0x35:
            at += then if value >= operand else otherwise
        else:
            assert code == 0x06
            return int(operand)


@machines
def test_each_call_of_the_tables_gets_its_verdict(machine: Architecture) -> None:
    for table, expected in ((ALLOWED, ALLOW), (FATAL, KILL)):
        numbers = [row[machine.column] for row in table.values() if row[machine.column] >= 0]
        assert {verdict(machine, number) for number in numbers} == {expected}


@machines
def test_a_call_that_nobody_thought_of_fails_as_on_an_older_kernel(machine: Architecture) -> None:
    assert {verdict(machine, number) for number in (435, 436, 500, 9999)} == {FAIL}


@machines
def test_signals_reach_the_process_itself_alone(machine: Architecture) -> None:
    for kill in ((62, 129), (234, 131)):
        number = kill[machine.column]
        assert verdict(machine, number, [PID]) == ALLOW
        assert {verdict(machine, number, [to]) for to in (1, PID - 1, 2**32 - 1, 0)} == {FAIL}


@machines
def test_calls_of_another_machine_end_the_process(machine: Architecture) -> None:
    assert verdict(machine, ALLOWED["read"][machine.column], audit=0x40000003) == KILL


def test_calls_of_the_32_bit_abi_of_a_64_bit_machine_end_the_process() -> None:
    assert verdict(ARCHITECTURES["x86_64"], 0x4000_0000) == KILL


@machines
def test_no_call_is_in_both_tables(machine: Architecture) -> None:
    allowed = {row[machine.column] for row in ALLOWED.values()} - {-1}
    assert not allowed & {row[machine.column] for row in FATAL.values()}
