"""Removes what a cluster leaves on the machine, whoever started it and however it ended."""

import shutil
import socket
from contextlib import suppress
from pathlib import Path

from . import cgroups, network, processes
from .console import succeeds
from .errors import ClusterError
from .paths import OWNER, RUN, State, node_run


def parse_mounts(mountinfo: str, folder: Path) -> list[Path]:
    """Mount points below `folder`, the last mounted first, from /proc/self/mountinfo's text."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def _unescape(field: str) -> str:
    """The kernel writes blanks, tabs, line ends and backslashes in paths as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def owner() -> State | None:
    """The state folder that the cluster on this machine belongs to, or None."""
    try:
        return State(Path(OWNER.read_text().strip()).parent)
    except FileNotFoundError:
        return None


def claim(state: State) -> None:
    """Note that the cluster on this machine belongs to `state`, where every checkout can read it."""
    RUN.mkdir(parents=True, exist_ok=True, mode=0o755)
    OWNER.write_text(f"{state.folder}\n")


def remains() -> bool:
    """Whether anything of a cluster is on this machine, running or not."""
    return RUN.exists() or cgroups.exists() or bool(network.existing())


def clear_runtime(folders: list[State]) -> None:
    """End all processes, and remove mounts, namespaces, control groups and the run folder.

    State folders keep their files: a cluster whose remains were cleared can start again.
    """
    cgroups.kill_members(lambda: cgroups.members() | shims(RUN))
    for folder in (RUN, *(state.folder for state in folders)):
        unmount_below(folder)
    network.remove()
    cgroups.remove()
    _remove_shared_traces(RUN, [state.folder for state in folders])
    shutil.rmtree(RUN, ignore_errors=True)


def power_off(state: State) -> None:
    """End every process at once, as a power failure does; objects, volumes and images stay on disk for `up`.

    The network namespaces stay too: a program that looks into one from outside goes on doing so after `up`.
    """
    cgroups.kill_members(lambda: cgroups.members() | shims(RUN))
    for number in range(1, state.recorded_nodes() + 1):
        _forget_running(state, number)


def power_off_node(state: State, number: int) -> None:
    """The same for one node other than the first, without a word to the others. Safe to repeat."""
    if network.netns(number) in network.existing():
        network.cut_off(number)  # first, or the kernel would close the connections of the dead in good order
    cgroups.kill_members(lambda: pids_of_node(number))
    _forget_running(state, number)
    network.remove(number)


def _forget_running(state: State, number: int) -> None:
    """Remove what does not outlive a reboot of a node whose processes have ended."""
    run_folder, home = node_run(number), state.node(number)
    for folder in (run_folder, home):
        unmount_below(folder)
    cgroups.remove(cgroups.node_group(number))
    _remove_shared_traces(run_folder, [home])
    shutil.rmtree(run_folder, ignore_errors=True)


def pids_of_node(number: int) -> set[int]:
    """The processes of a node: its programs, containerd's shims, and all containers."""
    programs = {processes.pid_of(name) for name in processes.known() if name.startswith(f"node{number}-")}
    return {pid for pid in programs if pid} | shims(node_run(number)) | cgroups.members(cgroups.node_group(number))


def remove_state(state: State) -> None:
    """Remove a state folder with everything in it. The cluster must not run any more."""
    if not state.folder.exists():
        return
    state.removing.touch()
    unmount_below(state.folder)
    shutil.rmtree(state.folder)


def unmount_below(folder: Path) -> None:
    """Unmount everything below `folder`.

    Raises ClusterError when something stays mounted: deleting the folder would then delete what is
    mounted there, a user's repository for instance.
    """
    folder = folder.resolve()
    for point in _mounts(folder):
        if not succeeds(["umount", point]):
            succeeds(["umount", "--lazy", point])
    if left := _mounts(folder):
        raise ClusterError(f"{left[0]} cannot be unmounted; see who uses it with `fuser -vm {left[0]}`.")


def _mounts(folder: Path) -> list[Path]:
    return parse_mounts(Path("/proc/self/mountinfo").read_text(), folder)


def shims(folder: Path) -> set[int]:
    """containerd's shims, known by the address of their containerd below `folder`: they may leave our group."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if Path(words[0]).name.startswith("containerd-shim") and any(w.startswith(f"{folder}/") for w in words):
            found.add(int(entry.name))
    return found


def _remove_shared_traces(run_folder: Path, homes: list[Path]) -> None:
    """Files that the programs write at fixed places, each only where it is known to be ours or dead."""
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and any(link.readlink().is_relative_to(home) for home in homes):
            link.unlink()
    for result in Path("/var/lib/cni/results").glob("*"):
        if f"{run_folder}/" in result.read_text(errors="replace"):
            result.unlink()
    device_plugins = Path("/var/lib/kubelet/device-plugins")
    for place in (*Path("/run/containerd/s").glob("*"), device_plugins / "kubelet.sock"):
        if is_dead_socket(place):
            place.unlink()
    for folder in (device_plugins, Path("/var/lib/kubelet"), Path("/var/lib/cni/results"), Path("/var/lib/cni")):
        with suppress(OSError):  # absent, or somebody else's files are in it
            folder.rmdir()


def is_dead_socket(path: Path) -> bool:
    """Whether `path` is a socket that no process listens on."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
