"""What observables recorded, as ArviZ DataTree netCDF: `az.from_netcdf(path)` opens it.

The group `posterior` has the values of every observable in every draw, with the number of each
value as a coordinate; of runs that kept sums alone, the group `moments` has those.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lambda_hat_core.analysis import traceio
from lambda_hat_core.samplers.moments import Columns, Moments, Observed, Recorded

_SAMPLE = ("chain", "draw")
_AXES = ("chain", "batch", "kind", "value", "other")


def observed_tree(observed: Observed) -> Any:
    """Return what was recorded as an ArviZ (xarray) DataTree."""
    import xarray as xr

    columns, (draws, moments) = observed
    root = {
        "at_minimum": ("value", columns.at),
        "number": ("value", np.asarray(columns.numbers)),
    }
    attrs = {"names": json.dumps(columns.names), "rows_of": json.dumps(columns.rows_of)}
    groups = {"/": xr.Dataset(root, attrs=attrs)}
    if draws is not None:
        values: dict[str, Any] = {}
        coords: dict[str, Any] = {
            name: np.arange(k) for name, k in zip(_SAMPLE, draws.shape, strict=False)
        }
        start = 0
        for name, count in columns.names:
            at = slice(start, start + count)
            start += count
            axis = f"{name}_index"
            values[name] = ((*_SAMPLE, axis), columns.at[at] + draws[:, :, at])
            coords[axis] = np.asarray(columns.numbers[at])
        groups["/posterior"] = xr.Dataset(values, coords)
    if moments is not None:
        sums = {
            name: (_AXES[: array.ndim], array)
            for name, array in zip(("n", "total", "cross"), moments, strict=True)
        }
        groups["/moments"] = xr.Dataset(sums)
    return xr.DataTree.from_dict(groups)


def save_observed(observed: Observed, path: Path) -> None:
    """Write what was recorded with lossless compression."""
    traceio.write(observed_tree(observed), path)


def load_observed(path: Path) -> Observed:
    """Read what `save_observed` wrote."""
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        tree.load()
        names = tuple((str(name), int(count)) for name, count in json.loads(tree.attrs["names"]))
        at = np.asarray(tree["at_minimum"], np.float64)
        numbers = tuple(np.asarray(tree["number"]).tolist())
        columns = Columns(names, numbers, tuple(json.loads(tree.attrs["rows_of"])), at)
        if "moments" in tree.children:
            sums = (np.asarray(tree["moments"][name]) for name in ("n", "total", "cross"))
            return Observed(columns, Recorded(None, Moments(*sums)))
        parts = [np.asarray(tree["posterior"][name]) for name, _ in names]
        return Observed(columns, Recorded(np.concatenate(parts, axis=2) - at, None))
