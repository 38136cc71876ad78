"""Galleries: content of the page, when it is made again, and escaping of text."""

import json
import re
import struct
import zlib
from html.parser import HTMLParser

import pytest

from tests.core.fake_numerics import run, target


def png():
    """Return a PNG of one pixel."""

    def chunk(kind, body):
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head, pixel = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0), zlib.compress(b"\0\0")
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", pixel), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def made_target(store, spec):
    meta = {"n": 1000, "d": 3, "loss0": 0.0, "test_loss": None, "grad_norm": 0.0}
    meta |= {"min_eigenvalue": 1.0, "audit_reasons": [], "llc_known": 1.5}
    meta |= {"llc_known_reason": "rank < 4 & even"}
    with store.publish("targets", spec.id, spec) as folder:
        (folder / "meta.json").write_text(json.dumps(meta))
        (folder / "figures").mkdir()
        (folder / "figures" / "spectrum.png").write_bytes(png())


def made_analysis(store, spec, **facts):
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.store import records
    from tests.core.traces import trace

    drawn = trace(spec.seed, n_draws=100)
    found = estimate(drawn, {})
    row = records.run_row(spec) | found._asdict() | {"llc_known": 1.5, "llc_oracle": 1.4}
    row |= {"verdict": "ok", "reasons": [], "loss": "own", **facts}
    with store.publish("analyses", spec.id, spec) as folder:
        records.write("llc", [row], folder / "estimate.parquet")
        records.write_draws(spec.id, drawn, folder / "draws.parquet")
        row["created_at"] = row["created_at"].isoformat()
        (folder / "estimate.json").write_text(json.dumps(row, default=str))
        (folder / "figures").mkdir()
        for name in ("trace", "llc_convergence_combined"):
            (folder / "figures" / f"{name}.png").write_bytes(png())


@pytest.fixture
def store(tmp_path):
    from lambda_hat_core.store.store import Store

    return Store(tmp_path / "runs")


@pytest.fixture
def gallery(store):
    """Return a gallery of four runs: ok, suspect, failed, and not run."""
    from lambda_hat_core.gallery.members import Gallery, Member
    from lambda_hat_core.store import failures

    made_target(store, target())
    specs = [run(seed) for seed in (1, 2, 3, 4)]
    made_analysis(store, specs[0])
    made_analysis(store, specs[1], verdict="suspect", reasons=["R-hat <b>1.2</b> & more"])
    failures.write_failure(store, specs[2], "killed <script>alert(1)</script>")
    runs = {
        spec.id: Member(target=target().id, sampler="sgld", label=f"sgld (own, seed {spec.seed})")
        for spec in specs
    }
    return Gallery(experiment="exp", targets={target().id: 'quadratic "q" <3>'}, runs=runs)


class Page(HTMLParser):
    """Parses a page: rows by run, as dictionaries of class -> (attributes, text), and images."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.images, self.tags, self.headings = {}, [], [], []
        self._cells, self._cell = None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag == "tr":
            run = attrs.get("data-run")
            self._cells = None if run is None else self.rows.setdefault(run, {})
        elif tag == "td" and self._cells is not None:
            self._cell = [attrs, ""]
            self._cells[attrs["class"].split()[-1]] = self._cell
        elif tag == "th":
            self.headings.append(attrs)
        elif tag == "img":
            self.images.append(attrs["src"])

    def handle_endtag(self, tag):
        if tag == "td":
            self._cell = None
        if tag == "tr":
            self._cells = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell[1] += data


def made(store, gallery):
    from lambda_hat_core.work import making

    outcome = making.build_gallery(store, gallery, print)
    text = (store.path("galleries", gallery.id) / "index.html").read_text()
    return outcome, Page(text), text


def test_every_run_has_a_row_with_its_verdict_and_reasons(store, gallery):
    outcome, page, _ = made(store, gallery)
    assert outcome.status == "made" and outcome.record["n_runs"] == 4
    assert list(page.rows) == list(gallery.runs)
    verdicts = [cells["verdict"][0]["data-sort"] for cells in page.rows.values()]
    assert verdicts == ["ok", "suspect", "failed", "missing"]
    fine, suspect, failed, missing = page.rows.values()
    assert "R-hat <b>1.2</b> & more" in suspect["verdict"][1]
    assert "killed <script>alert(1)</script>" in failed["verdict"][1]
    assert "it was not run" in missing["verdict"][1]
    assert float(fine["llc"][0]["data-sort"]) > 0 and failed["llc"][0]["data-sort"] == ""
    assert outcome.record["verdicts"] == {"ok": 1, "suspect": 1, "failed": 1, "missing": 1}


def test_caveats_stand_beside_the_number_and_each_reason_has_its_way_out(store, gallery):
    spec, suspect = (run(seed) for seed in (4, 5))
    note = "w* is not at a minimum: the cross entropy has only an infimum of 0 at infinity"
    ledger = {"localisation": {"relative": -0.91}, "minibatch": {"relative": 0.02}}
    settings = json.dumps({"batch_size": 32, "step_size": 0.25})
    facts = {"at_minimum": False, "descent": 1.88, "ledger": ledger, "settings": settings}
    made_analysis(store, spec, notes=[note], acceptance=0.81, n_divergent=3, **facts)
    why = {"reasons": ["too few draws"], "advice": ["until.max_fge: 9000"]}
    made_analysis(store, suspect, verdict="suspect", **why)
    members = {spec.id: gallery.runs[spec.id], suspect.id: gallery.runs[spec.id]}
    _, page, text = made(store, gallery.model_copy(update={"runs": members}))
    cells, other = page.rows[spec.id], page.rows[suspect.id]
    assert "infimum at infinity, descent 1.9" in cells["llc"][1]
    assert "localisation -91%" in cells["llc"][1]
    assert "localisation -91%" in other["llc"][1], "the same posterior, accounted for by the other"
    assert "descent" not in other["llc"][1]
    assert f'title="{note}"' in text
    assert other["verdict"][1].strip() == "suspecttoo few draws set until.max_fge: 9000"
    for name, value in (("batch_size", "32"), ("acceptance", "0.81"), ("divergent draws", "3")):
        assert f'<th scope="row">{name}</th><td>{value}</td>' in text
    assert "minibatches: the noise of the gradients</th><td>+2.0%</td>" in text


def test_a_column_is_filled_or_absent(store, gallery):
    _, page, text = made(store, gallery)
    assert {"llc_known", "llc_oracle"} <= next(iter(page.rows.values())).keys()
    spec = run(6)
    made_analysis(store, spec, llc_known=None, llc_oracle=None)
    alone = {spec.id: gallery.runs[run(4).id]}
    _, page, text = made(store, gallery.model_copy(update={"runs": alone}))
    assert not {"llc_known", "llc_oracle"} & page.rows[spec.id].keys()
    assert len(page.headings) - len(re.findall('scope="row"', text)) == len(page.rows[spec.id])


def test_one_file_has_the_whole_page_with_its_pictures(store, gallery):
    _, page, _ = made(store, gallery)
    text = (store.path("galleries", "exp") / "lambda_hat_exp.html").read_text()
    whole = Page(text)
    assert whole.rows == page.rows
    assert len(whole.images) == len(page.images)
    assert all(source.startswith("data:image/png;base64,") for source in whole.images)
    assert "assets/" not in text and "lambda_hat_exp.html" not in text


def test_one_file_of_many_runs_has_only_the_convergence_of_each(store, gallery, monkeypatch):
    from lambda_hat_core.gallery import page as pages

    monkeypatch.setattr(pages, "_WHOLE_RUNS", 3)
    _, page, _ = made(store, gallery)
    text = (store.path("galleries", "exp") / "lambda_hat_exp.html").read_text()
    assert len(Page(text).images) == len(page.images) - 2
    assert text.count('alt="llc convergence combined of') == 2 and 'alt="trace of' not in text
    assert "only the convergence of each run" in text


def test_text_cannot_become_markup_and_nothing_is_fetched(store, gallery):
    _, page, text = made(store, gallery)
    assert page.tags.count("script") == 1 and "b" not in page.tags
    assert "rank &lt; 4 &amp; even" in text
    assert not re.search(r"https?://|//[a-z]|@import|url\(", text.split("<script>")[0])
    sorting = [heading["aria-sort"] for heading in page.headings if heading["scope"] == "col"]
    assert set(sorting) == {"none"}
    snippet = (store.path("galleries", "exp") / "gallery.md").read_text()
    assert "\\<script>" in snippet and snippet.count("![") == 2


def test_dark_mode_leaves_pictures_of_data_and_heat_maps_as_they_are(tmp_path):
    from lambda_hat_core.gallery import page as pages

    def kind(name):
        (tmp_path / name).write_bytes(png())
        return re.search(r'<figure( class="[^"]*")?>', pages._figure(name, "it", tmp_path))[1]

    id = target().id
    for name in ("data", "predictions", "sheet_1"):
        assert kind(f"{id}_{name}.png") == ' class="shades"'
    for name in (f"{id}_spectrum.png", f"{id}_forest.png", f"{run(1).id}_trace.png"):
        assert kind(name) is None
    sheet = pages.HERE.joinpath("style.css").read_text()
    dark = sheet.rpartition("@media (prefers-color-scheme: dark)")[2]
    assert "figure.shades img { filter: none;" in dark


def test_on_a_phone_the_words_are_explained_below_the_table(store, gallery):
    _, _, text = made(store, gallery)
    places = [text.index(part) for part in ("</table>", '<details class="glossary">', "<section")]
    assert places == sorted(places)
    narrow = text.partition("@media (max-width")[2].partition("@media print")[0]
    assert "glossary" not in narrow and "overflow-x: auto" in narrow and " local" in narrow


def test_counts_of_one_are_singular(store, gallery):
    from lambda_hat_core.gallery.markdown import document
    from lambda_hat_core.gallery.rows import read_rows

    (row, *_) = read_rows(store, gallery)
    assert "\n1 run: 1 ok." in document("e", [row], gallery.targets, {})
    _, _, text = made(store, gallery)
    assert "4 runs of 1 sampler on 1 target: " in text


def test_page_and_snippet_explain_the_words_in_a_collapsed_section(store, gallery):
    from lambda_hat_core.gallery.glossary import RESULTS

    _, page, text = made(store, gallery)
    section = re.search(r'<details class="glossary">(.*?)</details>', text, flags=re.DOTALL)
    assert section is not None and page.tags.count("dt") == len(RESULTS)
    assert "<code>log p(w) = -nbeta L_n(w) - gamma/2 |w - w*|^2 + const</code>" in section[1]
    snippet = (store.path("galleries", "exp") / "gallery.md").read_text()
    assert all(f"\n| {term.name.split(',')[0]}" in unescaped(snippet) for term in RESULTS)


def unescaped(markdown):
    return re.sub(r"\\([*_|])", r"\1", markdown)


def test_the_folder_has_exactly_the_pictures_of_the_page(store, gallery):
    _, page, text = made(store, gallery)
    folder = store.path("galleries", "exp")
    there = {path.relative_to(folder).as_posix() for path in folder.glob("assets/*.png")}
    assert set(page.images) == there
    assert len(there) == 2 + 1 + 2 * 2
    assert 'alt="llc convergence combined of sgld seed 1"' in text


def test_a_gallery_is_made_again_only_after_a_change(store, gallery):
    from lambda_hat_core.store import failures

    assert made(store, gallery)[0].status == "made"
    assert made(store, gallery)[0].status == "reused"
    fourth = run(4)
    failures.write_failure(store, fourth, "tried")
    outcome, page, _ = made(store, gallery)
    assert outcome.status == "made" and "tried" in page.rows[fourth.id]["verdict"][1]
    made_analysis(store, fourth)
    assert made(store, gallery)[1].rows[fourth.id]["verdict"][0]["data-sort"] == "ok"
    renamed = gallery.model_copy(update={"targets": {target().id: "new name"}})
    assert made(store, renamed)[0].status == "made"
    (store.path("galleries", "exp") / "index.html").unlink()
    assert made(store, renamed)[0].status == "made"


def test_promotion_takes_the_newest_run_of_every_sampler(store, gallery, tmp_path):
    from lambda_hat_core.gallery.promote import promote

    first, second = list(gallery.runs)[:2]
    manifest = store.path("analyses", first) / "manifest.json"
    manifest.write_bytes(older(manifest))
    written = promote(store, gallery, tmp_path / "docs")
    names = ["sgld_trace.png", "sgld_llc_convergence_combined.png", "gallery.md"]
    assert [path.name for path in written] == names
    snippet = written[-1].read_text()
    assert second in snippet and first not in snippet
    assert all(f"({name})" in snippet for name in names[:2])
    assert written[0].read_bytes() == png()
    with pytest.raises(ValueError, match=r"'rank\.png'; they have: llc_conv.*, trace\.png"):
        promote(store, gallery, tmp_path, ["rank.png"])


def older(manifest):
    """Return a manifest according to which its folder was made long ago."""
    from lambda_hat_core.store.store import _digest

    body = json.loads(manifest.read_bytes())
    del body["sha256"]
    body["created_at"] = "2020-01-01T00:00:00+00:00"
    return json.dumps({**body, "sha256": _digest(body)}).encode()


def test_promoting_without_a_complete_run_is_an_error(store, gallery, tmp_path):
    from lambda_hat_core.gallery.promote import promote

    untried = dict(list(gallery.runs.items())[3:])
    with pytest.raises(FileNotFoundError, match=r"experiment 'exp' has no complete run.*run it"):
        promote(store, gallery.model_copy(update={"runs": untried}), tmp_path)
    assert not (tmp_path / "exp").exists()


def test_runs_of_a_target_have_different_names(gallery):
    from lambda_hat_core.gallery.members import Gallery
    from lambda_hat_core.gallery.rows import short_names

    assert sorted(short_names(gallery).values()) == [f"sgld seed {s}" for s in (1, 2, 3, 4)]
    first = next(iter(gallery.runs))
    alone = Gallery(experiment="e", targets=gallery.targets, runs={first: gallery.runs[first]})
    assert short_names(alone) == {first: "sgld"}
    same = dict.fromkeys(gallery.runs, gallery.runs[first])
    twins = gallery.model_copy(update={"runs": same})
    assert len(set(short_names(twins).values())) == 4


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", None], ids=str)
def test_a_damaged_analysis_counts_as_absent_when_a_page_is_looked_at(store, gallery, content):
    from lambda_hat_core.gallery.members import is_current

    made(store, gallery)
    manifest = store.path("analyses", next(iter(gallery.runs))) / "manifest.json"
    manifest.unlink()
    manifest.mkdir() if content is None else manifest.write_bytes(content)
    assert not is_current(store, gallery)
