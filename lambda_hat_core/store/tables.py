"""Reads parquet files of the store, which may be damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WAY_OUT = "lambda-hat verify --remove removes it, and the next run makes it again"
"""What to do about a damaged file."""


class Damaged(ValueError):
    """A file of the store that cannot be read to its end."""


def read_table(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a parquet file.

    Raises:
        FileNotFoundError: if there is none.
        Damaged: if it cannot be read to its end, or lacks one of the columns.
    """
    from pyarrow import ArrowException, parquet

    try:
        if path.is_dir():
            raise IsADirectoryError(path)
        found = parquet.read_table(path, columns=columns)
    except FileNotFoundError:
        raise
    except (OSError, ArrowException) as error:
        raise Damaged(f"{path} cannot be read to its end; {WAY_OUT}") from error
    if columns is not None and not {*columns} <= {*found.column_names}:
        raise Damaged(f"{path} lacks one of the columns {', '.join(columns)}; {WAY_OUT}")
    return found.to_pylist()
