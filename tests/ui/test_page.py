"""The gallery page in a browser, opened from disk: sorting, filtering and unfolding."""

import pytest

from tests.core.test_compare import two  # noqa: F401
from tests.core.test_gallery import gallery, store  # noqa: F401

pytestmark = pytest.mark.ui


@pytest.fixture
def opened(page, store, gallery):  # noqa: F811
    from lambda_hat_core.work import making

    making.build_gallery(store, gallery, print)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((store.path("galleries", "exp") / "index.html").as_uri())
    yield page
    assert requests and all(url.startswith("file://") for url in requests)


def column(page, name):
    cells = page.locator(f"#runs tbody td.{name}")
    return cells.evaluate_all("cells => cells.map(cell => cell.dataset.sort)")


def test_a_click_sorts_and_another_reverses_the_order(opened, shot):
    shot(opened, "gallery_light", full_page=True)
    opened.get_by_role("button", name="LLC ± se").click()
    rising = column(opened, "llc")
    values = [float(value) for value in rising if value]
    assert len(values) == 2
    assert values == sorted(values) and rising[2:] == ["", ""]
    header = opened.locator("th[aria-sort='ascending']")
    assert header.inner_text().startswith("LLC")
    opened.get_by_role("button", name="LLC ± se").click()
    assert column(opened, "llc") == [*reversed(rising[:2]), "", ""]
    assert opened.locator("#spoken").inner_text() == "sorted by LLC ± se, falling"


@pytest.mark.parametrize("width", [1280, 1400])
def test_the_table_fits_a_laptop(opened, width):
    opened.set_viewport_size({"width": width, "height": 900})
    room = opened.locator(".scroll").evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert room[0] == room[1]


def test_a_phone_shows_numbers_and_verdicts_first(opened, shot):
    opened.set_viewport_size({"width": 390, "height": 844})
    shot(opened, "gallery_phone")
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    first = opened.locator("#runs tbody tr").first
    number, verdict = (first.locator(f"td.{name}").bounding_box() for name in ("llc", "verdict"))
    assert number and verdict
    assert number["y"] < 300 and verdict["y"] < 300
    assert number["y"] < first.locator("td.target").bounding_box()["y"]
    details = opened.locator("details:has(figure)").first
    details.evaluate("part => part.open = true")
    assert opened.evaluate("document.documentElement.scrollWidth") == 390


def test_one_file_shows_the_page_anywhere(page, opened, tmp_path, store, shot):  # noqa: F811
    file = tmp_path / "sent.html"
    folder = store.path("galleries", "exp")
    file.write_bytes((folder / "lambda_hat_exp.html").read_bytes())
    page.goto(file.as_uri())
    images = page.locator("img")
    widths = images.evaluate_all("found => found.map(image => image.src.slice(0, 10))")
    assert widths and set(widths) == {"data:image"}
    page.locator("details").evaluate_all("found => found.forEach(part => part.open = true)")
    shot(page, "gallery_one_file", full_page=True)


def test_the_keyboard_sorts_text(opened):
    button = opened.get_by_role("button", name="verdict")
    button.focus()
    opened.keyboard.press("Enter")
    assert column(opened, "verdict") == ["failed", "missing", "ok", "suspect"]
    opened.keyboard.press("Space")
    assert column(opened, "verdict") == ["suspect", "ok", "missing", "failed"]


def test_words_filter_the_rows(opened):
    opened.get_by_label("Filter").fill("suspect sgld")
    assert opened.locator("#runs tbody tr:visible").count() == 1
    assert opened.locator("#spoken").inner_text() == "1 of 4 runs shown"
    opened.get_by_label("Filter").fill("")
    assert opened.locator("#runs tbody tr:visible").count() == 4


def test_a_link_unfolds_its_run_and_pictures_load(opened, gallery, shot):  # noqa: F811
    run = next(iter(gallery.runs))
    details = opened.locator(f"details#{run}")
    assert details.get_attribute("open") is None
    opened.locator(f"#runs a[href='#{run}']").click()
    image = details.locator("img").first
    image.wait_for(state="visible")
    assert details.get_attribute("open") is not None
    opened.wait_for_function("image => image.complete", arg=image.element_handle())
    assert image.evaluate("image => image.naturalWidth") == 1
    opened.emulate_media(color_scheme="dark")
    opened.evaluate("scrollTo(0, 0)")
    shot(opened, "gallery_dark", full_page=True)


def test_two_experiments_are_compared_on_a_page_of_any_width(page, store, two, tmp_path, shot):  # noqa: F811
    from lambda_hat_core.gallery.compare import comparison

    file = tmp_path / "compared.html"
    file.write_text(comparison(store, *two))
    page.goto(file.as_uri())
    page.get_by_text("differs by more than chance").first.wait_for()
    assert page.locator("#runs tbody tr:visible").count() == 3
    differences = page.locator("#runs tbody td.llc")
    assert differences.filter(has_text="0.500 ± 0.050").is_visible()
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 100
    shot(page, "compared", full_page=True)
    page.get_by_label("Filter").fill("sgld differs")
    assert page.locator("#runs tbody tr:visible").count() == 1
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    first = page.locator("#runs tbody tr:visible").first
    assert first.locator("td.llc").bounding_box()["y"] < 844
    shot(page, "compared_phone", full_page=True)
