"""What is clicked in the UI, on a real SLURM: a launch, Terminate, and a backfill.

The requests are those that the pages send.
"""

import pytest

from tests.slurm.conftest import target
from tests.webserver import graphql, served, wait_for

pytestmark = pytest.mark.slurm

LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
__typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = """mutation ($run: String!) { terminateRuns(runIds: [$run]) {
... on TerminateRunsResult { terminateRunResults { __typename } } } }"""
BACKFILL = """mutation ($params: LaunchBackfillParams!) {
launchPartitionBackfill(backfillParams: $params) {
__typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RUN = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
BACKFILLED = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
... on PartitionBackfill { status } } }"""
LOCATION = {"repositoryLocationName": "lambda_hat_assets", "repositoryName": "__repository__"}


@pytest.fixture
def clicked(site):
    sleeping = target("sleeping", seconds=3600, name="clicked")
    bowls = [target("probe") | {"seed": seed} for seed in range(3)]
    sampler = {"name": "nuts", "overrides": {"n_draws": 100, "n_burn": 20, "n_warmup": 100}}
    return site({"experiment": "clicked", "targets": [sleeping, *bowls], "samplers": [sampler]})


def test_terminate_cancels_the_job_and_a_backfill_shares_one(clicked, monkeypatch):
    monkeypatch.syspath_prepend(clicked.root)
    asleep, *bowls = clicked.targets()
    tags = [{"key": "lambda_hat/card", "value": " ".join(clicked.changes())}]
    with served(clicked.root, clicked.environment) as url:
        run = wait_for(lambda: launched(url, asleep, tags), "the web server")
        wait_for(lambda: states(clicked) == ["RUNNING"], "the job of a clicked run")
        graphql(url, TERMINATE, run=run)
        wait_for(lambda: status(url, run) == "CANCELED", "the end of the run")
        wait_for(lambda: states(clicked)[0].startswith("CANCELLED"), "the end of its job")

        backfill = {
            "assetSelection": [{"path": ["targets"]}],
            "partitionNames": bowls,
            "tags": tags,
            "title": "bowls",
        }
        answer = graphql(url, BACKFILL, params=backfill)["launchPartitionBackfill"]
        wait_for(lambda: ended(url, answer["backfillId"]), "the backfill")
    assert sorted(clicked.made("targets")) == sorted(bowls)
    cancelled, *others = states(clicked)
    assert cancelled.startswith("CANCELLED") and others == ["COMPLETED"]


def launched(url, partition, tags):
    """Return the id of the run that a click on Materialize starts, or None without an answer."""
    of_partition = {"key": "dagster/partition", "value": partition}
    params = {
        "selector": LOCATION | {"jobName": "targets", "assetSelection": [{"path": ["targets"]}]},
        "executionMetadata": {"tags": [of_partition, *tags]},
        "mode": "default",
    }
    answer = graphql(url, LAUNCH, params=params)
    if answer is None:
        return None
    assert answer["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    return answer["launchRun"]["run"]["runId"]


def status(url, run):
    return graphql(url, RUN, run=run)["runOrError"]["status"]


def ended(url, backfill):
    """Return whether a backfill has ended; a failed backfill fails the test."""
    state = graphql(url, BACKFILLED, id=backfill)["partitionBackfillOrError"]["status"]
    assert "FAIL" not in state, state
    return state == "COMPLETED_SUCCESS"


def states(site):
    """Return the states of a site's jobs, the oldest job first."""
    return [job[2] for job in sorted(site.jobs(), key=lambda job: int(job[0]))]
