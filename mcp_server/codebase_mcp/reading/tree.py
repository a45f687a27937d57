"""The files of a repository as a tree of folders, as deep as its lines allow. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class _Folder:
    """A folder with its folders and the names of its files, in order; `count` is of all files below it."""

    name: str
    count: int = 0
    folders: dict[str, "_Folder"] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    is_open: bool = False

    def add(self, path: str) -> None:
        folder = self
        *parents, name = path.split("/")
        folder.count += 1
        for parent in parents:
            folder = folder.folders.setdefault(parent, _Folder(parent))
            folder.count += 1
        folder.files.append(name)

    def joined(self) -> "_Folder":
        """Return it with folders that hold nothing but one other joined to one: `src/main/java`."""
        folder = self
        while not folder.files and len(folder.folders) == 1:
            (inner,) = folder.folders.values()
            name = f"{folder.name}/{inner.name}" if folder.name else inner.name
            folder = _Folder(name, inner.count, inner.folders, inner.files)
        folder.folders = {name: inner.joined() for name, inner in folder.folders.items()}
        return folder

    @property
    def entries(self) -> int:
        return len(self.folders) + len(self.files)


def draw_tree(paths: Iterable[str], room: int) -> list[str]:
    """Return the lines of a tree, about `room` of them: folders are opened level by level while there is room.

    A folder that stays closed says how many files are below it.
    """
    top = _Folder("")
    for path in paths:
        top.add(path)
    top = top.joined()
    top.is_open = True
    room -= top.entries
    level = list(top.folders.values())
    while level:
        opened: list[_Folder] = []
        for folder in level:
            if folder.entries <= room:
                folder.is_open = True
                room -= folder.entries
                opened += folder.folders.values()
        level = opened
    head = [f"{top.name}/"] if top.name else []
    return head + list(_lines(top, "  " * len(head)))


def _lines(folder: _Folder, indent: str) -> Iterator[str]:
    for inner in folder.folders.values():
        if inner.is_open:
            yield f"{indent}{inner.name}/"
            yield from _lines(inner, indent + "  ")
        else:
            yield f"{indent}{inner.name}/ ({inner.count} file{'s' * (inner.count != 1)})"
    for name in folder.files:
        yield indent + name
