"""Traces are stored bit for bit, and ArviZ opens the file."""

import numpy as np
import pytest

from tests.core import traces

TARGET = "tgt_0123456789ab"


def run_spec(dtype="float64"):
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.samplers.exact import Nuts
    from lambda_hat_core.config.spec import RunSpec

    return RunSpec(target=TARGET, sampler=Nuts(), posterior=PosteriorSpec(), dtype=dtype)


def assert_same(first, second):
    for name, value in first._asdict().items():
        other = getattr(second, name)
        if isinstance(value, np.ndarray):
            assert value.dtype == other.dtype, name
            assert value.tobytes() == other.tobytes(), name
        elif name in ("stats", "extras"):
            assert value.keys() == other.keys()
            for key in value:
                assert value[key].dtype == other[key].dtype, key
                assert value[key].tobytes() == other[key].tobytes(), key
        elif isinstance(value, float) and np.isnan(value):
            assert np.isnan(other), name
        else:
            assert value == other, name


def variants():
    full = traces.trace()
    broken = full.loss.copy()
    broken[1, 7:] = np.nan
    broken[2, 9] = np.inf
    return {
        "plain": full,
        "one draw": traces.trace(n_chains=1, n_draws=1),
        "no draws": traces.trace(n_draws=0, failure="not finite at draw 0"),
        "failed": full._replace(
            loss=broken, loss0=float("nan"), failure="the loss is not finite at draw 7"
        ),
        "replicas": traces.replicated(),
        "no virial": full._replace(virial=None, virial_m=None, stats={}),
        "other dtypes": full._replace(
            dist2=full.dist2.astype(np.float32),
            stats={
                "diverging": full.loss > full.loss.mean(),
                "n_steps": np.arange(full.loss.size, dtype=np.int32).reshape(full.loss.shape),
            },
        ),
        "vi": full._replace(
            iid=True,
            extras={"elbo": np.arange(12.0).reshape(4, 3), "khat": np.array([0.1, 0.2, 0.3, 0.4])},
            info={"pi": [0.5, 0.5], "nested": {"lr": 1e-2, "schedule": None}},
        ),
    }


@pytest.mark.parametrize("name", list(variants()))
def test_round_trip_is_exact(name, tmp_path):
    from lambda_hat_core.analysis.traceio import load_trace, save_trace

    trace = variants()[name]
    save_trace(trace, run_spec(), tmp_path / "trace.nc")
    assert_same(trace, load_trace(tmp_path / "trace.nc"))


def test_values_found_by_the_set_up_are_strict_json(tmp_path):
    import xarray as xr

    from lambda_hat_core.analysis.measure import measure
    from lambda_hat_core.analysis.traceio import load_trace, save_trace

    ledger = {"error": {"relative": float("nan")}, "oracle": np.float32(np.inf)}
    info = {"step_size": float("inf"), "batch_size": None, "ledger": ledger}
    save_trace(traces.trace()._replace(info=info), run_spec(), tmp_path / "trace.nc")
    with xr.open_datatree(tmp_path / "trace.nc", engine="h5netcdf") as tree:
        assert "NaN" not in tree.attrs["info"] and "Infinity" not in tree.attrs["info"]
    read = load_trace(tmp_path / "trace.nc")
    assert read.info["step_size"] is None and read.info["ledger"]["oracle"] is None
    assert measure(read).ledger_error is None


def test_arviz_opens_the_file_and_finds_its_groups(tmp_path):
    import arviz as az

    from lambda_hat_core.analysis.measure import measure
    from lambda_hat_core.analysis.traceio import save_trace

    trace, spec = traces.trace(), run_spec("float32")
    save_trace(trace, spec, tmp_path / "trace.nc")
    tree = az.from_netcdf(tmp_path / "trace.nc").load()
    tree.close()
    assert set(tree.children) == {"posterior", "sample_stats"}
    assert tree.attrs["run_id"] == spec.id
    assert tree.attrs["dtype"] == "float32"
    assert type(spec).model_validate_json(tree.attrs["spec"]) == spec
    np.testing.assert_array_equal(tree["posterior"]["llc"].values, trace.llc)
    ours = measure(trace)
    assert az.ess(tree, var_names=["llc"])["llc"].item() == pytest.approx(ours.ess_bulk)
    assert az.rhat(tree, var_names=["loss"])["loss"].item() <= ours.r_hat
    assert az.bfmi(tree)["energy"].values.min() == pytest.approx(ours.bfmi)


def test_the_file_is_no_larger_than_its_numbers(tmp_path):
    from lambda_hat_core.analysis.traceio import save_trace

    trace = traces.trace(n_draws=1000)
    save_trace(trace, run_spec(), tmp_path / "trace.nc")
    arrays = [trace.loss, trace.llc, trace.dist2, trace.projections, trace.virial, trace.virial_m]
    numbers = sum(values.nbytes for values in [*arrays, *trace.stats.values()])
    assert (tmp_path / "trace.nc").stat().st_size < numbers


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    from lambda_hat_core.analysis.traceio import save_trace

    with pytest.raises(FileNotFoundError, match="nowhere"):
        save_trace(traces.trace(), run_spec(), tmp_path / "nowhere" / "trace.nc")
