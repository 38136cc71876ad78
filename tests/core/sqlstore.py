"""A store with rows of runs and targets, and what its views must have."""

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store import records

LLC = (
    "run_id target_id experiment sampler flavour dtype seed loss n d nbeta gamma n_chains n_draws "
    "n_burn llc llc_se llc_lo llc_hi llc_known llc_oracle loss0 ess_bulk ess_tail r_hat v_m "
    "work_fge wall_s verdict reasons created_at label settings acceptance n_divergent ess_min "
    "v_m_se at_minimum descent step trajectory_id restrict advice stopped_by"
).split()

COLUMNS = {
    "trajectories": "trajectory_id step target_id train_loss test_loss metric label".split(),
    "llc": LLC,
    "targets": "target_id kind label n d loss0 grad_norm min_eigenvalue llc_known "
    "llc_known_reason seed spec created_at failure".split(),
    "checks": "run_id target_id name passed severity value threshold words".split(),
    "draws": "run_id chain draw loss llc dist2 cumulative_fge".split(),
    "profiles": "run_id replica nbeta llc llc_se acceptance "
    "exchange_rate log_evidence log_evidence_se".split(),
    "experiments": "experiment target_id run_id".split(),
    "trials": "problem method number state parameters llc llc_se llc_ref objective v_m work_fge "
    "wall_s run_id reason study".split(),
    "observables": "run_id name index mean se r_hat at_minimum".split(),
    "covariances": "run_id a b index_a index_b cov se".split(),
}


def spec(seed=0):
    return RunSpec(
        target=f"tgt_{'0' * 12}",
        sampler=Sgld(precond="adam"),
        posterior=PosteriorSpec(loss="mse"),
        seed=seed,
        dtype="float32",
    )


def run_spec(seed):
    at = {"posterior": PosteriorSpec(loss="own"), "seed": seed, "dtype": "float32"}
    return RunSpec(target=f"tgt_{0:012x}", sampler=Sgld(), **at)


def target_spec(seed=0, **model):
    return TargetSpec(model=Quadratic(d=3, **model), data=NoData(), seed=seed)


def add_run(store, run, **values):
    row = records.run_row(run) | {"verdict": "ok", "reasons": [], **values}
    records.write("llc", [row], store.path("analyses", run.id) / "estimate.parquet")
