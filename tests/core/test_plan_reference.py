import importlib.util
from pathlib import Path

from lambda_hat_core.gallery import glossary

DOCS = Path(__file__).parents[2] / "docs"


def written():
    """Return the configuration reference as `make docs` would write it."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reference()


def test_the_committed_reference_is_current():
    assert (DOCS / "config.md").read_text() == written(), "run: make docs"


def test_the_committed_glossary_is_current():
    assert (DOCS / "glossary.md").read_text() == glossary.page(), "run: make docs"


def test_every_type_has_a_name_in_the_reference():
    assert "| any |" not in written()
    assert "None" not in written()
