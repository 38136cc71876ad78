"""The site of the docs: it lists every page and every public name. `make docs` builds it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M))
    assert named == {path.name for path in DOCS.glob("*.md")}


def test_the_site_is_built_strictly():
    """With --quiet mkdocs does not count its warnings, and a broken link passes."""
    (line,) = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text())
    assert line == "mkdocs build --strict"


def test_every_public_name_is_in_the_reference():
    import lambda_hat_core

    page = (DOCS / "api.md").read_text()
    written = re.findall(r"^::: lambda_hat_core\.(\w+)$", page, flags=re.MULTILINE)
    assert {*written} == {*lambda_hat_core.__all__} - {"__version__"}


def test_every_link_between_pages_and_to_figures_leads_somewhere():
    for page in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        for path, part in LINK.findall(page.read_text()):
            aim = page.parent / path if path else page
            assert aim.is_file(), (page.name, path)
            if part and aim.name not in ("api.md",):
                heads = re.findall(r"^#+ (.*)$", aim.read_text(), flags=re.MULTILINE)
                slugs = {
                    re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in heads
                }
                assert part in slugs, (page.name, path, part)
