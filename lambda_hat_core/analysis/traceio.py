"""Traces as ArviZ DataTree netCDF: `az.from_netcdf(path)` opens what `save_trace` writes.

The groups are `posterior` (loss, llc, dist2, projections), `sample_stats` (statistics of the
sampler, the virials, cumulative_fge and seconds) and `extras`. The other fields are attributes of
the root. Weights of the network are never stored.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.store import files

_SAMPLE = ("chain", "draw")
_PACKAGES = ("lambda-hat", "numpy", "jax", "blackjax", "flowjax", "arviz", "xarray", "h5netcdf")
_NOT_STATS = ("virial", "virial_m", "cumulative_fge", "seconds")


def save_trace(trace: Trace, spec: RunSpec, path: Path) -> None:
    """Write a trace with lossless compression."""
    write(datatree(trace, spec), path)


def write(tree: Any, path: Path) -> None:
    """Write an xarray DataTree with lossless compression."""
    encoding = {
        node.path: {str(name): _encoding(node[name].values) for name in node.variables}
        for node in tree.subtree
    }
    tree.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def datatree(trace: Trace, spec: RunSpec) -> Any:
    """Return a trace as an ArviZ (xarray) DataTree."""
    import xarray as xr

    n_chains, n_draws = trace.loss.shape
    coords = {"chain": np.arange(n_chains), "draw": np.arange(n_draws)}
    posterior = {
        "loss": (_SAMPLE, trace.loss),
        "llc": (_SAMPLE, trace.llc),
        "dist2": (_SAMPLE, trace.dist2),
        "projections": ((*_SAMPLE, "projection"), trace.projections),
    }
    stats: dict[str, Any] = {
        name: ((*_SAMPLE, _third_axis(name))[: values.ndim], values)
        for name, values in trace.stats.items()
    }
    for name in ("virial", "virial_m"):
        if (values := getattr(trace, name)) is not None:
            stats[name] = (_SAMPLE, values)
    stats["cumulative_fge"] = ("draw", trace.cumulative_fge)
    stats["seconds"] = ("draw", trace.seconds)
    groups = {
        "/": xr.Dataset(attrs=_attributes(trace, spec)),
        "/posterior": xr.Dataset(posterior, coords),
        "/sample_stats": xr.Dataset(stats, coords),
    }
    if trace.extras:
        extras = {name: _with_axes(name, values) for name, values in trace.extras.items()}
        groups["/extras"] = xr.Dataset(extras)
    return xr.DataTree.from_dict(groups)


def load_trace(path: Path) -> Trace:
    """Read a trace that `save_trace` wrote, bit for bit."""
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        tree.load()
        attrs = tree.attrs
        posterior = _arrays(tree, "posterior")
        stats = _arrays(tree, "sample_stats")
        return Trace(
            loss=posterior["loss"],
            dist2=posterior["dist2"],
            projections=posterior["projections"],
            virial=stats.get("virial"),
            virial_m=stats.get("virial_m"),
            cumulative_fge=stats["cumulative_fge"],
            seconds=stats["seconds"],
            stats={name: values for name, values in stats.items() if name not in _NOT_STATS},
            loss0=float(attrs["loss0"]),
            nbeta=float(attrs["nbeta"]),
            gamma=float(attrs["gamma"]),
            n=int(attrs["n"]),
            d=int(attrs["d"]),
            work=json.loads(attrs["work"]),
            seconds_total=float(attrs["seconds_total"]),
            info=json.loads(attrs["info"]),
            failure=json.loads(attrs["failure"]),
            iid=bool(attrs["iid"]),
            extras=_arrays(tree, "extras") if "extras" in tree.children else {},
            prior=float(attrs["prior"]) if "prior" in attrs else None,
        )


def _attributes(trace: Trace, spec: RunSpec) -> dict[str, Any]:
    """Return the root's attributes; netCDF has only numbers and strings, so mappings are JSON."""
    versions = {name: version(name) for name in _PACKAGES}
    return {
        "run_id": spec.id,
        "spec": spec.model_dump_json(),
        "dtype": spec.dtype,
        "loss0": trace.loss0,
        "nbeta": trace.nbeta,
        "gamma": trace.gamma,
        **({} if trace.prior is None else {"prior": trace.prior}),
        "n": trace.n,
        "d": trace.d,
        "work": files.to_json(trace.work),
        "seconds_total": trace.seconds_total,
        "info": files.to_json(trace.info),
        "failure": json.dumps(trace.failure),
        "iid": int(trace.iid),
        "versions": json.dumps({"python": platform.python_version(), **versions}),
    }


def _arrays(tree: Any, group: str) -> dict[str, np.ndarray]:
    return {str(name): np.asarray(values) for name, values in tree[group].data_vars.items()}


def _third_axis(name: str) -> str:
    return "replica" if name.startswith("replica") else "pair"


def _with_axes(name: str, values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    return tuple(f"{name}_{axis}" for axis in range(values.ndim)), values


def _encoding(values: np.ndarray) -> dict[str, Any]:
    """Return deflate with byte shuffle, without a fill value, which would be read as a mask."""
    plain: dict[str, Any] = {"_FillValue": None} if values.dtype.kind == "f" else {}
    return {**plain, "zlib": True, "complevel": 4, "shuffle": True} if values.size > 1 else plain
