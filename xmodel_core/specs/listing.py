"""Which files lie at a place: the one answer that `xmodel init`, `plan`, `sources check` and the build share.

Takes a path of this machine, or a glob; gives its files in name order, and says what it passed over. Links to folders
are followed, except into a folder that holds them. Files and folders whose names start with a dot belong to programs
(`.ipynb_checkpoints/`, `._a.jsonl`, `.partial`): they are counted and not read. A part of a glob that exists as it is
written is that file or folder, so a folder may have brackets in its name.
"""

import fnmatch
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RECURSIVE = "**"


@dataclass(frozen=True)
class Listing:
    """The files at a place."""

    folder: Path
    """What the files' names are relative to; it need not exist."""
    files: tuple[Path, ...]
    """In name order."""
    hidden: int = 0
    """Files and folders passed over because their names start with a dot."""
    left_out: tuple[str, ...] = ()
    """A line for each thing that could not be followed or opened: a link to nothing, a folder without permission."""


def readable_name(name: str) -> str:
    """A file name as UTF-8 text: bytes of another encoding (GBK) become \\xd6\\xd0, so that no two names are alike."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def list_files(place: Path | str) -> Listing:
    """A file, all files of a folder at any depth, or what matches a glob; no files where there is nothing."""
    path = Path(place)
    if path.is_file():
        return Listing(path.parent, (path,))
    folder, pattern = (path, (RECURSIVE,)) if path.is_dir() else _split_glob(path)
    if not pattern or not folder.is_dir():
        return Listing(folder, ())
    walk = _Walk(folder)
    files = sorted(set(walk.matches(folder, pattern, (_identity(folder),))))
    return Listing(folder, tuple(files), len(walk.hidden), tuple(sorted(walk.left_out)))


def _split_glob(path: Path) -> tuple[Path, tuple[str, ...]]:
    """(the folder, the parts of the pattern): it begins at the first part that has a *, ? or [ in it and does not
    exist as it is written."""
    fixed = Path(path.anchor)
    parts = path.parts[1:] if path.anchor else path.parts
    for index, part in enumerate(parts):
        if glob.has_magic(part) and not (fixed / part).exists():
            return fixed, parts[index:]
        fixed = fixed / part
    return fixed, ()


def _identity(folder: Path) -> tuple[int, int]:
    """What a folder is, by whatever path it is reached."""
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


class _Walk:
    """One walk below a folder, and what it passes over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hidden: set[Path] = set()
        self.left_out: set[str] = set()

    def matches(self, folder: Path, pattern: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        """The files below a folder that match. `above`: the folders on the way here, this one included."""
        part, rest = pattern[0], pattern[1:]
        if part == RECURSIVE and rest:
            yield from self.matches(folder, rest, above)  # ** is also no folder at all
        for path in self._named(folder, part):
            inside = pattern if part == RECURSIVE else rest
            if not path.is_dir():
                if not rest and path.is_file():
                    yield path
                elif path.is_symlink() and not path.exists():
                    self._leave_out(path, "a link to nothing")
            elif inside:
                identity = _identity(path)
                if identity not in above:
                    yield from self.matches(path, inside, (*above, identity))
                else:
                    self._leave_out(path, "a link to a folder that holds it")

    def _named(self, folder: Path, part: str) -> list[Path]:
        """What of a folder one part of a pattern names."""
        if not glob.has_magic(part) or (folder / part).exists():
            return [folder / part] if os.path.lexists(folder / part) else []
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names, not paths
        except OSError as error:
            self._leave_out(folder, str(error.strerror).lower())
            return []
        matching = [folder / name for name in names if part == RECURSIVE or fnmatch.fnmatchcase(name, part)]
        if part.startswith("."):
            return matching
        self.hidden.update(path for path in matching if path.name.startswith("."))
        return [path for path in matching if not path.name.startswith(".")]

    def _leave_out(self, path: Path, why: str) -> None:
        self.left_out.add(f"{readable_name(path.relative_to(self.root).as_posix())}: {why}")
