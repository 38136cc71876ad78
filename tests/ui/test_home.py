"""`dagster dev` with a DAGSTER_HOME of the user. No browser is needed."""

import shutil

from tests.webserver import ROOT, graphql, served, wait_for

ASK = """query {
  workspaceOrError { ... on Workspace { locationEntries {
    name locationOrLoadError { __typename } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""


def test_server_and_daemon_start_although_the_variable_of_the_job_is_set(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    env = {"LAMBDA_HAT_HOME": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT)}
    with served(tmp_path, env, "telemetry: {enabled: false}") as url:
        found = wait_for(lambda: at_work(url), "server and daemon")
    assert found == {"lambda_hat_assets": "RepositoryLocation"}
    assert (tmp_path / "dagster" / "history").is_dir()


def at_work(url):
    """Return the states of the code locations, or None until the daemons are healthy."""
    found = graphql(url, ASK)
    if found is None:
        return None
    daemons = found["instance"]["daemonHealth"]["allDaemonStatuses"]
    if not all(daemon["healthy"] for daemon in daemons if daemon["required"]):
        return None
    entries = found["workspaceOrError"]["locationEntries"]
    return {entry["name"]: entry["locationOrLoadError"]["__typename"] for entry in entries}
