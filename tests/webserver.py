"""A separate `dagster dev` for a test: web server and daemon on a free port."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = (ROOT / "dagster.yaml").read_text()
LAUNCH = """mutation($job: String!, $tags: [ExecutionTag!]!) {
    launchRun(executionParams: {
        selector: {
            repositoryLocationName: "lambda_hat_assets",
            repositoryName: "__repository__",
            jobName: $job
        },
        executionMetadata: {tags: $tags},
        runConfigData: {}
    }) { __typename ... on LaunchRunSuccess { run { runId } } }
}"""
"""Launches a job with tags, such as that of its partition."""
PATIENCE = 300.0
"""Seconds for one launch, ten times as many as an otherwise idle machine needs."""


@contextmanager
def served(root, environment, settings=SETTINGS):
    """Run `dagster dev` in a folder; the value is its address, which may not answer yet.

    The environment has the variable that the job needs, although the files in the folder name the
    module too: Dagster's server and daemon hang silently if both reach them.

    Args:
        root: the folder, which gets the project's configuration and the server's log.
        environment: variables in addition to those of this process.
        settings: the content of dagster.yaml in the DAGSTER_HOME.
    """
    for name in (".env", "dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, root)
    (root / "dagster").mkdir(exist_ok=True)
    (root / "dagster" / "dagster.yaml").write_text(settings)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env |= {"DAGSTER_HOME": str(root / "dagster"), "DAGSTER_MODULE_NAME": "lambda_hat_assets"}
    port = _free_port()
    with (root / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("dagster"), "dev", "-h", "127.0.0.1", "-p", str(port)],
            cwd=root,
            env=env | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        _end(process)


def graphql(url, query, **variables):
    """Send a query of the UI, and return the answer, or None if there is none."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/graphql", body, headers)
        ) as answer:
            found = json.load(answer)
    except urllib.error.URLError:
        return None
    assert "errors" not in found, found
    return found["data"]


def wait_for(condition, what, every=0.5):
    """Wait until a condition is true, looked at every so many seconds, and return its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(every)
    return found


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _end(process):
    """Kill what is left of a session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
