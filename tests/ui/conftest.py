"""A headless Chromium, and the folder of its screenshots; without a browser tests are skipped."""

import importlib.util
import shutil
from pathlib import Path

import pytest

SCREENSHOTS = Path(__file__).with_name("screenshots")
LOADED = """Promise.all([...document.images].filter(image => image.checkVisibility()).map(image => {
    image.loading = 'eager';
    return image.decode();
}))"""
"""Waits until every displayed picture is loaded."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def missing():
    """Return what the browser tests need but do not find here, or None."""
    if shutil.which("chromium") is None:
        return "no chromium on this machine"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return None


def pytest_collection_modifyitems(config, items):
    what = missing()
    if what is None:
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"browser tests are left out: {what} (make ui-test installs it)")
    mine = [item for item in items if item.get_closest_marker("ui")]
    config.hook.pytest_deselected(items=mine)
    items[:] = [item for item in items if item not in mine]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A context of a new Chromium."""
    from playwright.sync_api import sync_playwright

    profile = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            headless=True,
            args=FLAGS,
            viewport={"width": 1440, "height": 1000},
        )
        yield context
        context.close()


@pytest.fixture(scope="session")
def ui(tmp_path_factory):
    """One `dagster dev` for all files of tests that need no experiment of their own."""
    from tests.ui.test_clicks import EXPERIMENT, running

    with running(tmp_path_factory.mktemp("site"), EXPERIMENT) as ui:
        yield ui


@pytest.fixture
def page(browser):
    """A page that collects the errors of its scripts; there must be none."""
    page = browser.new_page()
    page.set_default_timeout(90_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


@pytest.fixture(scope="session")
def shot():
    """A function that writes a screenshot into tests/ui/screenshots."""
    SCREENSHOTS.mkdir(exist_ok=True)

    def take(page, name, **options):
        page.evaluate(LOADED)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)

    return take
