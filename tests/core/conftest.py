"""Fixtures of the core's tests. The core is imported inside them, so that its types are checked."""

import pytest


@pytest.fixture
def plan_of(tmp_path):
    """Load an experiment from its text, with the presets of the project."""
    from lambda_hat_core.plan.plan import load_plan
    from tests.core.plans import CONFIG

    def load(text):
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return load_plan(file, CONFIG)

    return load
