"""Rows from parquet or Arrow files, read in parts into arrays of their own size.

The arrays are what a sampler needs, and nothing else of the files is ever in memory: 8 bytes for
each entry of a column of float64, 4 of float32, and one batch of rows beside them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lambda_hat_core.config.errors import suggest

_BATCH = 2**16

Columns = str | Sequence[str]


def load_rows(
    path: str | os.PathLike, columns: Mapping[str, Columns], *, dtype: Any = None
) -> dict[str, np.ndarray]:
    """Return columns of a parquet or Arrow file, or of a folder of them, as arrays.

    Args:
        path: the file, or a folder, all of whose files are read in the order of their names.
        columns: what each array is made of: one column, whose entries may be lists of one length,
            for an array with one entry or list per row; or a list of columns, which become the
            columns of a matrix.
        dtype: of all arrays with floats, such as `numpy.float32`; None: that of the columns.

    Returns:
        Arrays by the keys of `columns`, with n rows each.

    Raises:
        ValueError: if there is no such file or column, one has entries that are missing or no
            numbers, or lists have different lengths.
    """
    from pyarrow import ArrowException, dataset

    place = Path(path)
    if not place.exists():
        raise ValueError(f"load_rows: there is no file or folder {place}")
    try:
        kind = {".arrow": "ipc", ".feather": "ipc"}.get(_suffix(place), "parquet")
        source = dataset.dataset(place, format=kind)
    except (ArrowException, OSError) as error:
        words = " ".join(str(error).split())[:200]
        rule = "it reads parquet and Arrow files (.parquet, .arrow, .feather)"
        raise ValueError(f"load_rows: {place} cannot be read ({words}); {rule}") from error
    wanted = {key: [c] if isinstance(c, str) else list(c) for key, c in columns.items()}
    for key, names in wanted.items():
        for name in names:
            if name not in source.schema.names:
                ways = suggest(name, source.schema.names)
                raise ValueError(f"load_rows: {place} has no column {name} for {key}; {ways}")
        if not names:
            raise ValueError(f"load_rows: {key} names no column")
    n = source.count_rows()
    if not n:
        raise ValueError(f"load_rows: {place} has no rows")
    found: dict[str, np.ndarray] = {}
    start = 0
    needed = list(dict.fromkeys(name for names in wanted.values() for name in names))
    for batch in source.to_batches(columns=needed, batch_size=_BATCH):
        if not batch.num_rows:
            continue
        for key, part in _parts(batch, wanted, columns, place):
            if key not in found:
                is_float = part.dtype.kind == "f" and dtype is not None
                found[key] = np.empty((n, *part.shape[1:]), dtype if is_float else part.dtype)
            into = found[key][start : start + len(part)]
            if part.shape != into.shape or not np.can_cast(part.dtype, into.dtype, "same_kind"):
                what = f"{part.dtype} of shape {part.shape[1:]} after {into.dtype} of shape "
                rule = "all rows of an array have one shape and one type"
                raise ValueError(f"load_rows: {key} has {what}{into.shape[1:]}; {rule}")
            into[:] = part
        start += batch.num_rows
    return found


def _suffix(place: Path) -> str:
    if place.is_file():
        return place.suffix
    return next((file.suffix for file in sorted(place.rglob("*")) if file.is_file()), "")


def _parts(
    batch: Any, wanted: Mapping[str, list[str]], columns: Mapping[str, Columns], place: Path
) -> Iterator[tuple[str, np.ndarray]]:
    for key, names in wanted.items():
        arrays = [_array(batch.column(name), name, place) for name in names]
        yield key, arrays[0] if isinstance(columns[key], str) else np.stack(arrays, axis=1)


def _array(column: Any, name: str, place: Path) -> np.ndarray:
    """Return a column of a batch as an array, of rows of lists as a matrix."""
    import pyarrow as pa

    missing = f"load_rows: column {name} of {place} has entries that are missing"
    if column.null_count:
        raise ValueError(f"{missing}; drop or fill those rows")
    width = None
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            low, high = lengths[[0, -1]]
            rule = "the lists of a column have one length: pad them, and weigh or mask the rest"
            raise ValueError(f"load_rows: column {name} has lists of {low} to {high}; {rule}")
        width, column = int(lengths[0]), column.flatten()
    elif pa.types.is_fixed_size_list(column.type):
        width, column = column.type.list_size, column.flatten()
    if column.null_count:
        raise ValueError(f"{missing}; drop or fill those rows")
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "iufb":
        rule = "a column holds numbers: encode words as integers"
        raise ValueError(f"load_rows: column {name} of {place} has {column.type} values; {rule}")
    return values if width is None else values.reshape(-1, width)
