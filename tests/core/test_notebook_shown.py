"""The display of an estimate, and the messages during a call."""

import io
import json

import jax
import numpy as np
import pytest

from tests.core import traces


def answered(trace=None, **changes):
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.notebook.llc import answer

    trace = trace or traces.trace(**changes)
    trace = trace._replace(info={**trace.info, "step_size": 0.25, "ledger": {}})
    run = RunSpec(
        target=f"tgt_{0:012x}",
        sampler=Sgld(batch_size=256),
        posterior=PosteriorSpec(),
        dtype="float32",
        seed=3,
    )
    return answer(estimate(trace, {}, sampler=run.sampler), trace, run, seconds=2.5)


def test_repr_is_one_line_and_str_adds_the_reasons():
    found = answered()
    ends = f"{found.interval[0]:.2f}, {found.interval[1]:.2f}"
    assert repr(found) == f"Llc({found.llc:.3f} ± {found.se:.3f}, 90 % [{ends}], ok)"
    assert str(found) == f"llc {repr(found)[4:-1]}"
    alone = answered(n_chains=1)
    assert "\n" not in repr(alone) and len(repr(alone)) < 80
    words = repr(alone).removeprefix("Llc(").removesuffix("; set n_chains: 4)")
    assert str(alone) == f"llc {words}: {alone.reasons[0]}: set n_chains: 4"


def test_a_failure_has_no_number():
    found = answered(failure="the loss is not finite at draw 3 of chain 1")
    assert (found.llc, found.se, found.interval, found.verdict) == (None, None, None, "failed")
    assert repr(found) == "Llc(none, failed; set step_fraction: 0.075)"
    assert "the loss is not finite at draw 3" in str(found)
    assert "failed" in found._repr_html_()


def test_fields_are_plain_values_and_cannot_be_set():
    found = answered()
    facts = found.to_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["settings"] == found.settings
    used = {"sampler": "sgld", "step_size": 0.25, "batch_size": 256, "dtype": "float32", "seed": 3}
    assert used.items() <= found.settings.items()
    assert len(found.advice) == len(found.reasons) and found.seconds == 2.5
    assert found.ess == found.estimate.ess_min and found.nbeta == found.trace.nbeta
    with pytest.raises(AttributeError):
        found.llc = 3.0


def test_the_html_has_numbers_settings_and_a_picture():
    page = answered(n_chains=1)._repr_html_()
    assert "set <code>n_chains: 4</code>" in page
    assert "step_size 0.25" in page and ">suspect<" in page
    assert page.count("data:image/png;base64,iVBOR") == 1
    assert "&lt;" not in page and len(page) < 60_000


def test_text_is_escaped():
    assert "a &lt; b" in answered(failure="a < b")._repr_html_()


def test_plots_can_be_displayed_by_a_notebook():
    from matplotlib.figure import Figure

    found = answered()
    for name in ("trace", "rank", "energy", "llc_convergence_combined", "wnv"):
        assert isinstance(found.plot(name), Figure)
    assert found.plot()._repr_png_().startswith(b"\x89PNG")
    trace = traces.trace()
    quiet = answered(trace._replace(stats={}))
    with pytest.raises(ValueError, match="figure is 'energy'; this run has trace, rank, llc_"):
        quiet.plot("energy")


def test_draws_can_be_passed_to_arviz():
    found = answered()
    tree = found.to_datatree()
    assert np.array_equal(tree["posterior"]["llc"].values, found.trace.llc)
    assert tree.attrs["dtype"] == "float32"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (3.4, "3 s"),
        (12.0, "10 s"),
        (38.0, "40 s"),
        (89.0, "90 s"),
        (130.0, "2 min"),
        (5000.0, "80 min"),
        (7200.0, "2 h"),
    ],
)
def test_durations_are_rough(seconds, words):
    from lambda_hat_core.analysis.words import duration

    assert duration(seconds) == words


def heard(stream):
    from lambda_hat_core.notebook.telling import Display
    from lambda_hat_core.samplers.drive import Progress

    now = [0.0]
    teller = Display("nuts", stream, lambda: now[0])
    teller.begin()
    teller.say("about 40 s")
    for second, done in ((1.0, 10), (12.0, 50), (13.0, 100)):
        now[0] = second
        teller.progress(Progress(done, 100, 4.0, 90.0 - done, 8.0, 0.1, 1.0, 100.0))
    teller.end()
    return stream.getvalue()


def test_a_file_gets_a_line_every_ten_seconds():
    lines = heard(io.StringIO()).splitlines()
    assert lines[0].startswith("nuts: setting up")
    assert lines[1:] == ["nuts: about 40 s", "nuts: 50% of 100 draws, 40 s left, llc 8.00 ± 0.10"]


def test_a_terminal_gets_one_line_that_is_removed():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    before, rest = heard(Terminal()).split("\n")
    begin, forecast = before.split("\r\033[K")[1:]
    assert begin.startswith("nuts: setting up") and forecast == "nuts: about 40 s"
    parts = rest.split("\r\033[K")
    assert (
        len(parts) == 5 and parts[-1] == "" and parts[3].startswith("nuts: 100% of 100 draws, llc")
    )


def test_a_call_prints_a_forecast_before_it_begins(capsys):
    from lambda_hat_core import Mala, estimate_llc

    told = []
    sampler = Mala(n_draws=40, n_burn=10, n_warmup=20)
    arguments = {"params": np.zeros(2), "data": None, "n": 100, "sampler": sampler}

    def loss(w, batch):
        return jax.numpy.sum(w**2)

    estimate_llc(loss, **arguments, progress=told.append)
    assert capsys.readouterr() == ("", "")
    assert [at.done for at in told] == list(range(2, 41, 2))
    estimate_llc(loss, **arguments)
    said = capsys.readouterr()
    first, forecast = said.err.splitlines()[:2]
    assert said.out == "" and first.startswith("mala: setting up")
    assert forecast.startswith("mala: about ") and forecast.endswith("(d = 2, n = 100)")


def test_a_forecast_says_how_long_its_budget_lasts_if_that_is_long(capsys, monkeypatch):
    """A run that does not mix goes on for several times as long as a typical one."""
    from lambda_hat_core import Sghmc, estimate_llc
    from lambda_hat_core.notebook import computing

    def loss(w, batch):
        return jax.numpy.sum(w**2)

    given = {"params": np.zeros(2), "data": None, "n": 100}
    for seconds, sampler, is_told in (
        (500.0, Sghmc(), True),
        (0.2, Sghmc(), False),
        (500.0, Sghmc(n_draws=40, n_burn=20), False),
    ):
        monkeypatch.setattr(computing, "expected", lambda *_, seconds=seconds, **__: seconds)
        estimate_llc(loss, **given, sampler=sampler)
        forecast = capsys.readouterr().err.splitlines()[1]
        assert forecast.endswith(" (d = 2, n = 100)")
        assert (", its budget lasts " in forecast) is is_told


def test_the_forecast_is_the_number_of_gradients_times_their_time(x64, monkeypatch):
    from lambda_hat_core.config.samplers.exact import Nuts
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.targets import audit
    from lambda_hat_core.work import timing
    from tests.core import mixed

    monkeypatch.setattr(timing, "timed", lambda posterior: timing.Timed(0.0, 1e-3))
    posterior = mixed.posterior(mixed.quadratic(1.0))
    nuts, sgld = Nuts(), Sgld(batch_size=10)
    full = nuts.work(mixed.N) + audit.work(mixed.D)
    assert timing.expected(posterior, nuts, audited=False) == pytest.approx(full * 3e-3)
    full, batches = sgld.gradients(mixed.N)
    assert batches == 4 * (16 + sgld.n_draws * sgld.steps)
    gradients = full + audit.work(mixed.D) + batches * 10 / mixed.N
    assert timing.expected(posterior, sgld, audited=False) == pytest.approx(gradients * 3e-3)


def test_the_forecast_of_a_large_network_is_that_of_full_batches(x64, monkeypatch):
    """What `auto` becomes there: steps of all examples in a product basis, and few draws."""
    import dataclasses

    from lambda_hat_core.config.samplers.base import Until
    from lambda_hat_core.config.samplers.stochastic import Sghmc
    from lambda_hat_core.samplers import settling
    from lambda_hat_core.work import timing
    from tests.core import mixed

    monkeypatch.setattr(timing, "timed", lambda posterior: timing.Timed(0.0, 1e-3))
    for name, least in {"_LARGE": 4, "_SIDE": 3}.items():
        monkeypatch.setattr(settling, name, least)
    posterior = mixed.posterior(mixed.quadratic(1.0))
    large = dataclasses.replace(posterior, shapes=((4, 3),))
    free = Sghmc(until=Until(max_fge=1e9))
    draw = 4 * (6 + 1 / 3)
    set_up = 136 + 1 / 3 + 4 * (104 + 61 + 1 / 3 + 16 + 16)
    expected = timing.expected(large, free, audited=True)
    assert expected == pytest.approx(3e-3 * (set_up + 80 * draw))
    assert timing.expected(posterior, free, audited=True) != expected


def test_the_measured_time_of_the_loss_is_positive(x64):
    from lambda_hat_core.work.timing import timed
    from tests.core import mixed

    found = timed(mixed.posterior(mixed.quadratic(1.0)))
    assert found.first >= 0 and found.each > 0
