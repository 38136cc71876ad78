"""`dagster job execute -j llc` as people type it, in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.assets.conftest import ROOT

DAGSTER = Path(sys.executable).with_name("dagster")


def test_bad_input_is_one_line_and_an_exit_code(site):
    bad = site.experiment("bad")
    bad.write_text(bad.read_text().replace("d: 3", "dd: 3"))
    shutil.copy(ROOT / "dagster.yaml", site.root)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"DAGSTER_MODULE_NAME": "lambda_hat_assets", "PYTHONPATH": str(ROOT)}
    environment |= site.environment | {"LAMBDA_HAT_EXPERIMENT": "bad"}
    done = subprocess.run(
        [DAGSTER, "job", "execute", "-j", "llc"],
        cwd=site.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    lines = [
        line for line in done.stdout.splitlines() if "Warning" not in line and line[:2] != "  "
    ]
    assert len(lines) == 2, done.stdout
    assert "config/experiment/bad.yaml: targets[0].model.dd is 3: no such key" in lines[0]
    assert lines[1].startswith("Error: Run")
    assert not (site.root / "runs").exists()
