"""One of several processes that want the lease of a folder: `python -m tests.races.holders FOLDER SILENT_SECONDS`.

A line on stdin names a subfolder; the answer is `held` or `refused`. A holder is then told `end` and answers `ended`,
or `lost` where the lease is another's. It proves that it is alone: it makes a file that must not exist, `alone`, and
before it ends writes to `log`, after it has asked whether it may.
"""

import os
import sys
from pathlib import Path

from xmodel_core.artifacts import LocalFolder
from xmodel_core.artifacts.lease import LeaseLost, lease
from xmodel_core.errors import XmodelError


def _answer(word: str) -> None:
    print(word, flush=True)


def hold(folder: Path, silent_seconds: float) -> None:
    """One round."""
    try:
        with lease(LocalFolder(folder), silent_seconds / 4, silent_seconds) as held:
            os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
            _answer("held")
            assert sys.stdin.readline() == "end\n"
            held.check()
            with (folder / "log").open("a") as log:
                log.write(f"{os.getpid()}\n")
            (folder / "alone").unlink()
        _answer("ended")
    except LeaseLost:
        _answer("lost")
    except XmodelError as error:
        if error.what != "this run is being trained already":
            raise
        _answer("refused")


def main() -> None:
    """Rounds until stdin ends."""
    _answer("ready")
    while name := sys.stdin.readline().strip():
        hold(Path(sys.argv[1]) / name, float(sys.argv[2]))


if __name__ == "__main__":
    main()
