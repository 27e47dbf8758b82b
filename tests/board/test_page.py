"""The page as a reader has it: opened from disk in a browser, sorted, searched, on a phone."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from board_files import collated, write_card, write_runs, write_suite, write_two_tiers
from browsers import needs_browser, open_page
from negmark.board.figures.datasets import draw_datasets
from negmark.board.figures.drawing import save_nothing
from negmark.board.figures.quality import draw_quality
from negmark.store.run import read_run

ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of two datasets whose methods have values that sort differently as numbers and as text."""
    folder = tmp_path_factory.mktemp("page")
    metrics, cards = write_suite(
        folder, title=ATTACK, summary='"><img src=x onerror=alert(2)>', paper="=cmd()"
    )
    for place in range(10):
        values = {"unseen": (0.01 * place, 0.01 * place), "seen": (0.5, 0.5)}
        seconds = 9.5 + place  # 9.5 sorts after 10.5 as text
        metrics += write_runs(folder, "scifact", f"method_{place}", values, train_seconds=seconds)
    metrics += write_runs(folder, "wordnet", "inbatch", {"unseen": (0.3, 0.4), "seen": (0.5, 0.6)})
    cards += [write_card(folder, "wordnet", documents=5000, source="javascript:alert(3)")]
    draw_quality([read_run(path) for path in metrics], "scifact", folder / "board" / "figures")
    collated(metrics, cards, folder / "board")
    return folder / "board" / "leaderboard.html"


@pytest.fixture(scope="module")
def two_tiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of two datasets and two tiers with a figure of tiers."""
    folder = tmp_path_factory.mktemp("tiers")
    metrics, cards = write_two_tiers(folder)
    for row, tier in (("inbatch", "adapter"), ("inbatch_finetune", "finetune"), ("late", "finetune")):
        values = {"unseen": (0.3, 0.4), "seen": (0.5, 0.6)}
        metrics += write_runs(folder, "wordnet", row, values, tier=tier)
    cards += [write_card(folder, "wordnet")]
    figures = folder / "board" / "figures"
    figures.mkdir(parents=True)
    (figures / "scifact-tiers.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    )
    (figures / "scifact-tiers.txt").write_text("How far the tiers agree.")
    collated(metrics, cards, folder / "board")
    return folder / "board" / "leaderboard.html"


def column(browser: Any, heading: str) -> list[str]:
    """The shown text of a column in scifact's table, by its lower heading."""
    script = """
        const table = document.querySelector("#dataset-1 table");
        const heads = Array.from(table.tHead.rows[1].cells, (cell) => cell.textContent.trim());
        const before = Array.from(table.tHead.rows[0].cells).filter((cell) => cell.rowSpan === 2).length;
        const place = before + heads.indexOf(arguments[0]);
        return Array.from(table.tBodies[0].rows, (row) => row.cells[place].textContent.trim());
    """
    return browser.execute_script(script, heading)


def click(browser: Any, heading: str) -> None:
    script = """
        const heads = Array.from(document.querySelectorAll("#dataset-1 thead tr:last-child th"));
        heads.find((cell) => cell.textContent.trim() === arguments[0]).click();
    """
    browser.execute_script(script, heading)


def test_page_is_one_file_and_escapes_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert ATTACK not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<img src=x" not in text
    assert 'href="javascript:' not in text
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="(?!data:)', text), "nothing is fetched"


@needs_browser
def test_page_opens_from_disk_without_complaint(browser: Any, page: Path) -> None:
    open_page(browser, page)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.querySelectorAll('table.dataTable').length") == 3
    images = browser.execute_script("return Array.from(document.images, (image) => image.naturalWidth)")
    assert len(images) == 1
    assert images[0] > 300


@needs_browser
@pytest.mark.parametrize("heading", ["unseen", "seconds"])
def test_columns_sort_as_numbers(browser: Any, page: Path, heading: str) -> None:
    open_page(browser, page)
    for falling in (True, False):
        click(browser, heading)
        numbers = [float(text.split()[0]) for text in column(browser, heading) if text[0].isdigit()]
        assert numbers == sorted(numbers, reverse=falling)
    assert len(numbers) >= 12


@needs_browser
def test_search_filters_every_table(browser: Any, page: Path) -> None:
    open_page(browser, page)
    browser.find_element("id", "search").send_keys("method 7")
    assert len(column(browser, "unseen")) == 1
    assert "No method matches" in browser.find_element("css selector", "#dataset-2 tbody").text


@needs_browser
def test_page_fits_a_phone(browser: Any, page: Path) -> None:
    open_page(browser, page, width=390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    wrapper = "const box = document.querySelector('#dataset-1 .scroll'); "
    assert browser.execute_script(wrapper + "return box.scrollWidth > box.clientWidth"), (
        "the table scrolls by itself"
    )
    assert browser.execute_script(wrapper + "box.scrollLeft = 300; return box.scrollLeft") > 0


@needs_browser
def test_a_method_tells_what_it_does(browser: Any, page: Path) -> None:
    open_page(browser, page)
    details = browser.find_element("css selector", "#dataset-1 tbody details")
    assert '{"temperature":0.05}' in details.get_attribute("title")
    details.find_element("tag name", "summary").click()
    assert '{"temperature":0.05}' in details.text


def choose(browser: Any, value: str, what: str = "tier") -> None:
    script = """
        const box = document.getElementById(arguments[1]);
        box.value = arguments[0];
        box.dispatchEvent(new Event("change"));
    """
    browser.execute_script(script, value, what)


@needs_browser
def test_a_tier_is_chosen_with_its_baselines(browser: Any, two_tiers: Path) -> None:
    open_page(browser, two_tiers)
    assert browser.get_log("browser") == []
    everything = len(column(browser, "unseen"))
    choose(browser, "finetune")
    assert column(browser, "unseen") == ["0.120", "0.500 ±<0.001", "0.400 ±<0.001"]
    choose(browser, "adapter")
    assert column(browser, "unseen") == ["0.200 ±0.248", "0.150 ±<0.001", "0.120"]
    choose(browser, "")
    assert len(column(browser, "unseen")) == everything == 5


@needs_browser
def test_sorting_never_mixes_tiers(browser: Any, two_tiers: Path) -> None:
    open_page(browser, two_tiers)
    click(browser, "unseen")  # falling, then rising
    assert [float(text.split()[0]) for text in column(browser, "unseen")] == [0.2, 0.15, 0.12, 0.5, 0.4]
    click(browser, "unseen")
    assert [float(text.split()[0]) for text in column(browser, "unseen")] == [0.12, 0.15, 0.2, 0.4, 0.5]


@needs_browser
def test_the_overview_ranks_tiers_apart(browser: Any, two_tiers: Path) -> None:
    open_page(browser, two_tiers)
    script = """
        const rows = document.querySelectorAll("main > section:first-child tbody tr");
        return Array.from(rows, (row) => Array.from(row.cells, (cell) => cell.textContent.trim()));
    """
    rows = browser.execute_script(script)
    assert [row[:3] for row in rows] == [
        ["1.0", "inbatch", "adapter"],  # alone on wordnet, as scifact tells nothing of adapters
        ["", "simans", "adapter"],
        ["1.0", "inbatch", "finetune"],
        ["", "late", "finetune"],  # on wordnet alone, as simans on scifact
        ["", "simans", "finetune"],
        ["", "untrainedbaseline", ""],
    ]


@needs_browser
def test_all_costs_are_shown_where_asked_for(browser: Any, two_tiers: Path) -> None:
    heads = "return Array.from(document.querySelectorAll('#dataset-1 thead th'), (cell) => cell.textContent.trim())"
    open_page(browser, two_tiers, width=1000)
    few = browser.execute_script(heads)
    assert {"seconds", "own"} <= set(few)
    assert "vectors" not in few, "the table is wider than the screen without them"
    browser.execute_script("document.getElementById('costs').click()")
    assert {"vectors", "teacher", "MiB"} <= set(browser.execute_script(heads))
    assert column(browser, "vectors")[0] == "9.03k"
    assert column(browser, "own")[0] == "25 %"


@needs_browser
def test_all_costs_are_shown_where_they_fit(browser: Any, tmp_path: Path) -> None:
    metrics = write_runs(tmp_path, "wordnet", "inbatch", {"all": (0.3, 0.4)})
    card = write_card(tmp_path, "wordnet", seen_test_queries=0, unseen_test_queries=0)
    collated(metrics, [card], tmp_path)
    open_page(browser, tmp_path / "leaderboard.html")
    assert browser.execute_script("return document.getElementById('costs').checked")
    assert browser.find_element("css selector", "th.extra").is_displayed()


def test_one_tier_asks_for_no_choice(page: Path, two_tiers: Path) -> None:
    assert 'id="tier"' not in page.read_text()
    assert 'id="tier"' in two_tiers.read_text()


def test_the_figure_of_tiers_is_shown_where_there_are_tiers(tmp_path: Path, two_tiers: Path) -> None:
    assert "How far the tiers agree." in two_tiers.read_text()
    metrics, cards = write_suite(tmp_path)
    shutil.copytree(two_tiers.parent / "figures", tmp_path / "board" / "figures")
    collated(metrics, cards, tmp_path / "board", figures={"scifact": ["quality"], "wordnet": ["quality"]})
    assert "How far the tiers agree." not in (tmp_path / "board" / "leaderboard.html").read_text(), (
        "an old one"
    )


@needs_browser
def test_two_tiers_fit_a_phone(browser: Any, two_tiers: Path) -> None:
    open_page(browser, two_tiers, width=390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def heads(browser: Any) -> list[str]:
    last = "document.querySelectorAll('#dataset-1 thead tr:last-child th')"
    return browser.execute_script(f"return Array.from({last}, (cell) => cell.textContent.trim())")


@needs_browser
def test_a_slice_is_chosen_with_what_belongs_to_none(browser: Any, page: Path) -> None:
    open_page(browser, page)
    everything = heads(browser)
    assert everything.count("seen") == everything.count("unseen") == everything.count("all") > 1
    choose(browser, "unseen", "slice")
    assert {"all", "seen"}.isdisjoint(heads(browser))
    assert {"unseen", "difference", "seconds"} <= set(heads(browser))
    choose(browser, "", "slice")
    assert heads(browser) == everything
    assert browser.get_log("browser") == []


@needs_browser
def test_a_dataset_is_chosen(browser: Any, page: Path) -> None:
    open_page(browser, page)
    sections = "document.querySelectorAll('main > section:not([hidden]) > h2')"
    shown = f"return Array.from({sections}, (head) => head.textContent)"
    assert len(browser.execute_script(shown)) == 3
    choose(browser, "dataset-2", "dataset")
    assert len(browser.execute_script(shown)) == 1
    choose(browser, "", "dataset")
    assert len(browser.execute_script(shown)) == 3


@needs_browser
def test_a_track_is_chosen_with_baselines(browser: Any, tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    values = {"unseen": (0.3, 0.3, 0.3), "seen": (0.5, 0.5, 0.5)}
    metrics += write_runs(tmp_path, "scifact", "cet", values, track="faithful")
    collated(metrics, cards, tmp_path / "board")
    open_page(browser, tmp_path / "board" / "leaderboard.html")
    assert len(column(browser, "unseen")) == 4
    choose(browser, "faithful", "track")
    assert column(browser, "unseen") == ["0.120", "0.300 ±<0.001"]
    choose(browser, "controlled", "track")
    assert column(browser, "unseen") == ["0.200 ±0.248", "0.150 ±<0.001", "0.120"]


def test_a_row_links_the_manifests_of_its_runs(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    collated(metrics, cards, tmp_path / "results/leaderboards/quickstart")
    page = tmp_path / "results/leaderboards/quickstart/leaderboard.html"
    links = set(re.findall(r'href="([^"]*manifest.json)"', page.read_text()))
    assert links == {
        f"../../runs/quickstart/scifact/{method}/seed-{seed}/manifest.json"
        for method in ("inbatch", "simans")
        for seed in (0, 1, 2)
    }


def test_a_figure_without_rows_is_left_out(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    figures = tmp_path / "board" / "figures"
    save_nothing(figures / "scifact-gain", ["row", "gain"], "Nothing to show here.")
    draw_quality([read_run(path) for path in metrics], "scifact", figures)
    collated(metrics, cards, tmp_path / "board")
    text = (tmp_path / "board" / "leaderboard.html").read_text()
    assert "Nothing to show here." not in text
    width = re.search(r'alt="nDCG[^"]*" width="(\d+)"', text)
    assert width is not None
    assert int(width[1]) == 882, "seven inches of 72 points, larger than in print"


def test_a_figure_of_the_suite_stands_with_all_datasets(tmp_path: Path, page: Path) -> None:
    runs = [read_run(path) for path in page.parents[1].glob("runs/*/*/*/metrics.json")]
    shutil.copytree(page.parents[1], tmp_path / "copy")
    draw_datasets(runs, tmp_path / "copy" / "board" / "figures")
    (tmp_path / "copy/board/figures/datasets.csv").write_text("tau\n0.5\n")
    (tmp_path / "copy/board/figures/datasets.txt").write_text("How far the datasets agree.")
    metrics = sorted((tmp_path / "copy").glob("runs/*/*/*/metrics.json"))
    cards = sorted((tmp_path / "copy").glob("*.card.json"))
    collated(metrics, cards, tmp_path / "copy" / "board")
    overview = (tmp_path / "copy/board/leaderboard.html").read_text().split('id="dataset-1"')[0]
    assert "How far the datasets agree." in overview


def test_scores_of_negatives_are_told_by_method(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    table = "row,seed,balance,efficiency,hardness,margin,false_negative_rate\n"
    table += "simans,0,1.0,0.5,0.25,0.125,\nsimans,1,1.5,0.5,0.25,0.125,\n"
    (tmp_path / "board" / "foresight").mkdir(parents=True)
    (tmp_path / "board" / "foresight" / "scifact.csv").write_text(table)
    collated(metrics, cards, tmp_path / "board")
    text = (tmp_path / "board" / "leaderboard.html").read_text()
    shown = text.split('<table class="plain">')[1].split("</table>")[0]
    assert re.findall(r"<th(?: [^>]*)?>([^<]*)<", shown) == [
        "method", "balance", "its efficiency E", "hardness", "margin",
    ]  # fmt: skip
    assert re.findall(r"<td[^>]*>([^<]*)<", shown) == ["simans", "1.250", "0.500", "0.250", "0.125"]
