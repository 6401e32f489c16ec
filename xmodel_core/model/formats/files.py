"""Files of checkpoints in other projects' formats: their names, and folders that appear complete or not at all."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.errors import XmodelError

PICKLED_WEIGHTS = "pytorch_model.bin"
GENERATION_CONFIG = "generation_config.json"
TOKENIZER_JSON = ("tokenizer.json", "tokenizer_config.json")


def json_text(record: Mapping[str, Any]) -> str:
    """A record as the text of a JSON file; same record, same bytes."""
    return json.dumps(record, indent=2, sort_keys=True) + "\n"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write in, renamed to `folder` when the body is done. XmodelError where `folder` is a file
    or a folder that is not empty, or the disk is full."""
    if folder.exists():
        is_file = not folder.is_dir()
        if is_file or any(folder.iterdir()):
            raise XmodelError(
                "the output folder is a file" if is_file else "the output folder is not empty",
                expected="a new or empty folder",
                where=folder,
                remedy="choose another",
            )
    with naming_a_full_disk(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            written = Path(temporary) / folder.name
            written.mkdir()
            yield written
            written.replace(folder)
