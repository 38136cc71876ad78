from pathlib import Path

from lambda_hat_core.plan.reference import reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_committed_reference_is_current():
    assert DOCUMENT.read_text() == reference(), (
        "run: python -m lambda_hat_core.plan.reference > docs/config.md"
    )


def test_every_documented_type_is_a_word_of_the_page():
    assert "| any |" not in reference()
    assert "None" not in reference()
