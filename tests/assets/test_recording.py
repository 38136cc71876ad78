"""The metadata of artifacts some of whose numbers are not finite."""

import json
import math

import dagster as dg
import pytest

from lambda_hat_assets.compute.orders import Result
from lambda_hat_assets.recording.events import events
from lambda_hat_assets.recording.fields import ANALYSIS, RUN, STUDY, TARGET, pick
from lambda_hat_core.store import files

FILLED = {float: math.nan, int: 3, str: "words", bool: True}
CHECK = {"name": "certificate", "passed": False, "severity": "warn", "text": "no number"}


@pytest.mark.parametrize(
    ("kind", "fields", "path"),
    [
        ("targets", TARGET, ["targets"]),
        ("runs", RUN, ["runs", "nuts"]),
        ("analyses", ANALYSIS, ["analyses", "nuts"]),
    ],
)
def test_non_finite_numbers_are_left_out_of_the_metadata(site, kind, fields, path):
    site.experiment()
    project = site.project()
    (key,) = project.targets if kind == "targets" else project.runs
    made = {name: FILLED[type] for name, (type, _) in fields.items()}
    made |= {"reasons": ["a reason"], "audit_reasons": [], "llc_lo": math.nan, "llc_hi": 1.0}
    made |= {"path": str(site.root), "figures": [], "audit_limit": 0.05}
    made["checks"] = [CHECK | {"value": math.inf, "threshold": 0.1}]
    stored = json.loads(files.to_json(made))
    assert stored["checks"][0]["value"] is None and stored["loss0"] is None
    told = list(events(project, dg.AssetKey(path), Result(key, kind, stored)))
    assert {"path", "spec", "what", "reused"} <= told[0].metadata.keys()
    assert not {"loss0", "llc", "interval"} & told[0].metadata.keys()
    for event in told:
        for value in event.metadata.values():
            assert not isinstance(value, dg.FloatMetadataValue) or math.isfinite(value.value)


def test_non_finite_numbers_are_left_out_of_the_metadata_of_a_study():
    facts = {"trials": 2, "objective": math.inf, "v_m": math.nan, "llc": 1.5, "preset": None}
    assert pick(STUDY, facts) == {"trials": 2, "llc": 1.5}
