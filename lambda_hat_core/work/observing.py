"""The observables of a run in the store: which there are, and the tables and figures of them."""

from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store

_FILE = "observables.nc"


def save(trace: Any, folder: Path) -> None:
    """Write what a run recorded beside its trace, a `trace.Trace`, if it did."""
    if trace.observed is not None:
        from lambda_hat_core.analysis.observedio import save_observed

        save_observed(trace.observed, folder / _FILE)


def analyse(store: Store, spec: RunSpec, trace: Any, folder: Path, title: str) -> None:
    """Write tables and figures of what a run recorded beside its trace, if it did."""
    path = store.path("runs", spec.id) / _FILE
    if not path.exists():
        return
    from lambda_hat_core.analysis.observations import Observations
    from lambda_hat_core.analysis.observedio import load_observed

    found = Observations(trace._replace(observed=load_observed(path)))
    write_tables(spec, found, folder)
    draw_figures(found, folder / "figures", title)


def write_tables(spec: RunSpec, observations: Any, folder: Path) -> None:
    """Write means and covariances of the observables of a run, an `Observations`, for SQL."""
    import numpy as np

    rows = [{"run_id": spec.id, **row} for row in observations.to_dataframe().to_dict("records")]
    records.write("observables", rows, folder / "observables.parquet")
    names = np.array([row["name"] for row in rows])
    numbers = np.array([row["index"] for row in rows])
    found = observations.groups.measured(lambda c: c)
    first, second = np.triu_indices(len(rows))
    columns = {
        "run_id": [spec.id] * len(first),
        "a": names[first],
        "b": names[second],
        "index_a": numbers[first],
        "index_b": numbers[second],
        "cov": found.value[first, second],
        "se": found.se[first, second],
    }
    records.write("covariances", columns, folder / "covariances.parquet")


def draw_figures(observations: Any, folder: Path, title: str) -> None:
    """Draw the kernel of the rows of a run, and the influences on that which varies most."""
    import numpy as np

    from lambda_hat_core.analysis.figures.observables import influence_figure, kernel_figure
    from lambda_hat_core.analysis.figures.style import save

    for name in observations.rows_of:
        index = observations.index(name)
        if len(index) < 2:
            continue
        said = f"correlations of the losses of {len(index)} rows under the posterior ({name})"
        kernel = observations.kernel(name).value
        label = name.replace(".", "_")
        save(kernel_figure(kernel, index, title, said), folder / f"kernel_{label}.png")
        influence = observations.influence(name, name)
        at = int(np.argmin(np.diag(influence.value)))
        on = type(influence)(*(values[:, at] for values in influence))
        said = f"the rows with the largest influence on the row whose loss varies most ({name})"
        figure = influence_figure(on, index, int(index[at]), title, said)
        save(figure, folder / f"influence_{label}.png")
