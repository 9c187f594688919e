"""The dashboard in a browser: every page, of studies of every size and kind, and what a person does there.

VITSCAPE_PICTURES=FOLDER keeps a picture of each page.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest
from playwright.sync_api import Browser

from benchmarks import made_up
from dashboard.data import POLL_SECONDS
from explorer.profile.lease import exclusive
from search_spaces import build
from tests.browser import POINTS, Served, Tab, chromium, serve, tab
from tests.minis import vitscape
from tests.studies import ARCHITECTURE, add, evaluation, new_study

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("browser"),  # one browser and one server at a time: they share two cores with other tests
    pytest.mark.skipif(chromium() is None, reason="needs Chromium: apt-get install chromium"),
]
PAGES = {  # path: title
    "": "Explore",
    "overview": "Overview",
    "architecture": "Architecture",
    "compare": "Compare",
    "search": "Search",
    "design_space": "Design space",
    "devices": "Devices",
    "trials": "Trials",
}
BOTH = ("accuracy", "latency")
STUDIES: dict[str, dict[str, Any]] = {
    "none": {"trials": 0},
    "one": {"trials": 1},
    "thirty": {"trials": 30},
    "one_objective": {"trials": 30, "objectives": ("accuracy",)},
    "three_objectives": {"trials": 300, "objectives": (*BOTH, "params")},
    "failed": {"trials": 30, "failed": True},
    "ten_thousand": {"trials": 10_000},
    "hundred_thousand": {"trials": 100_000},
}
HOSTILE = "<img src=http://198.51.100.1/x onerror=alert(1)> ![x](http://198.51.100.1/a.png) [x](javascript:alert(1))"
MARKS = "$x$ :red[y] `z` **b** | {q} </script><script>alert(2)</script>"
WRITER = """
import sys, time
import optuna
from explorer.storage import open_storage
from tests.minis import vitscape
from tests.studies import add, evaluation
study = optuna.load_study(study_name="live", storage=open_storage(sys.argv[1], must_exist=False))
until, written = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < until:
    add(study, "complete", evaluation(50 + written % 40 + written / 1e4, 1 + written % 7), id=f"w{written}")
    written += 1
print(written)
"""
PAINTED = "document.querySelector('.vitscape-chart').dataset.painted"
FOCUSED = """() => {
    const focused = document.activeElement, place = focused.getBoundingClientRect();
    const name = focused.getAttribute("aria-label") || focused.innerText.split("\\n").filter(Boolean).at(-1) || "";
    return { name, role: focused.getAttribute("role"), x: place.x, y: place.y + place.height / 2,
        part: focused.closest("[data-testid=stSidebar], [data-testid=stMain]")?.dataset.testid };
}"""


@pytest.fixture(scope="session")
def storage() -> Path:
    """A storage with every study of STUDIES, kept in the temporary folder for later runs."""
    stamp = repr(STUDIES) + Path(made_up.__file__).read_text(encoding="utf-8")
    folder = Path(tempfile.gettempdir()) / f"vitscape-made-up-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"browser_{hashlib.sha256(stamp.encode()).hexdigest()[:12]}.db"
    with exclusive(path.stem):
        if not path.exists():
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            for name, kind in STUDIES.items():
                made_up.write_study(part, name=name, **kind)
            part.rename(path)
    return path


@pytest.fixture(scope="session")
def served(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(storage, None, tmp_path_factory.mktemp("served")) as running:
        yield running
        fine(running)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Served]:
    """A server whose study's name, devices, presets and errors try to be more than text."""
    study = new_study(tmp_path / "hostile.db", name=HOSTILE)
    record = study.user_attrs["vitscape"]
    study.set_user_attr("vitscape", record | {"space_name": MARKS, "data": {"source": HOSTILE, "fingerprint": "0"}})
    for number in range(4):
        measured = evaluation(60.0 + number, 1.0 + number)
        assert measured.latency is not None
        conditions = measured.latency.conditions.model_copy(update={"device_name": HOSTILE})
        latency = measured.latency.model_copy(update={"conditions": conditions, "reason": HOSTILE, "verdict": "noisy"})
        add(study, "complete", measured.model_copy(update={"latency": latency}), preset=HOSTILE if number else MARKS)
    add(study, "failed", None, error=f"RuntimeError: {HOSTILE}\n{MARKS}", architecture=ARCHITECTURE)
    add(study, "infeasible", None, error=MARKS)
    with serve(tmp_path / "hostile.db", None, tmp_path / "served") as running:
        yield running
        fine(running)


def fine(running: Served) -> None:
    """Asserts that the server's log has nothing but its address, and that it has not loaded torch."""
    assert running.log.read_text().splitlines()[1:] == []
    assert "libtorch" not in Path(f"/proc/{running.process.pid}/maps").read_text()


def picture(opened: Tab, name: str) -> None:
    """Keeps what the page looks like, where asked to."""
    if folder := os.environ.get("VITSCAPE_PICTURES"):
        opened.page.screenshot(path=Path(folder) / f"{name.removesuffix('_')}.png")


@pytest.mark.parametrize("study", STUDIES)
def test_every_page_shows_every_kind_of_study(browser: Browser, served: Served, study: str) -> None:
    with tab(browser, served.url) as opened:
        opened.open(study=study)
        for name, title in PAGES.items():
            opened.go(title)
            assert opened.failure() is None, (name, opened.failure())
            assert opened.overflow() <= 0, name
            picture(opened, f"{study}_{name}")
            opened.check()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_a_link_of_its_own_dark_and_on_a_phone(browser: Browser, served: Served, name: str) -> None:
    for study, width, dark in (("thirty", 390, False), ("ten_thousand", 1280, True), ("three_objectives", 390, True)):
        with tab(browser, served.url, width=width, height=844, dark=dark) as opened:
            opened.open(name, study=study, trial=3, compare="3,5,7")
            assert opened.failure() is None, (study, opened.failure())
            assert opened.overflow() <= 0, (study, width)
            dark_page = opened.page.evaluate(
                "getComputedStyle(document.querySelector('[data-testid=stApp]')).background"
            )
            assert ("rgb(13, 17, 23)" in dark_page) == dark
            picture(opened, f"{'dark' if dark else 'light'}_{width}_{name}_{study}")


@pytest.mark.parametrize("study", ["thirty", "hundred_thousand"])
def test_a_click_on_a_point_shows_its_architecture_and_the_downloaded_file_rebuilds_the_network(
    browser: Browser, served: Served, storage: Path, tmp_path: Path, study: str
) -> None:
    import torch

    with tab(browser, served.url, height=1400) as opened:
        opened.open(study=study)
        number = opened.alone()
        opened.click_point(number)
        assert re.search(rf"\btrial {number}\b", opened.text(), re.IGNORECASE)
        assert f"trial={number}" in opened.page.url
        file = opened.download("YAML", tmp_path)
        picture(opened, f"{study}_clicked")
    network = build(file).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape[0] == 1
    if study == "hundred_thousand":  # of which the command line takes minutes
        return
    words = ["export", "--study", study, "--storage", str(storage), "--trial", str(number), "--out", "exported"]
    vitscape(*words, cwd=tmp_path, check=True)
    (exported,) = (tmp_path / "exported").glob("*.yaml")
    assert build(exported).state_dict().keys() == network.state_dict().keys()


def test_the_link_in_the_address_bar_restores_the_chosen_trial(browser: Browser, served: Served) -> None:
    with tab(browser, served.url, height=1400) as opened:
        opened.open(study="thirty")
        number = opened.alone()
        opened.click_point(number)
        link = opened.page.url
    with tab(browser, served.url, height=1400) as opened:
        opened.page.goto(link)
        opened.idle()
        assert re.search(rf"\btrial {number}\b", opened.text(), re.IGNORECASE)


def test_a_zoom_outlives_a_choice(browser: Browser, served: Served) -> None:
    with tab(browser, served.url, width=1600, height=1400) as opened:
        opened.open(study="thirty")
        x = "document.querySelector('.vitscape-chart')._fullLayout.xaxis.range"
        before = opened.page.evaluate(x)
        opened.drag((0.1, 0.02), (0.9, 0.98))
        zoomed = opened.page.evaluate(x)
        assert zoomed != before
        opened.click_point(opened.alone())
        assert opened.page.evaluate(x) == zoomed


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A storage with a study of three trials, to which `writing` adds more."""
    study = new_study(tmp_path / "live.db", name="live")
    for accuracy, latency_ms in ((61.0, 1.0), (72.5, 2.0), (70.0, 3.0)):
        add(study, "complete", evaluation(accuracy, latency_ms))
    return tmp_path / "live.db"


@contextmanager
def writing(path: Path, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """A process that adds trials to the study of `live` for so long, or until this is left."""
    command = [sys.executable, "-c", WRITER, str(path), str(seconds)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        try:
            yield writer
        finally:
            writer.terminate()


def test_a_search_that_writes_meets_no_lock_and_moves_nothing_until_asked(
    browser: Browser, live: Path, tmp_path: Path
) -> None:
    with serve(live, None, tmp_path / "served") as running, tab(browser, running.url) as opened:
        opened.open()
        before = opened.page.evaluate(PAINTED)
        with writing(live, 15) as writer:
            offer = opened.page.get_by_role("button", name=re.compile("new trial"))
            offer.wait_for(timeout=30_000)
            assert opened.page.evaluate(PAINTED) == before
            offer.click()
            opened.page.wait_for_function(f"{PAINTED} !== '{before}'", timeout=30_000)
            for title in PAGES.values():  # and everything is read while it is written
                opened.go(title)
                assert opened.failure() is None, (title, opened.failure())
            out, err = writer.communicate(timeout=60)
        assert writer.returncode == 0, err
        assert "locked" not in err
        assert int(out) > 20
        fine(running)


def test_a_followed_search_shows_its_trials_as_they_come_until_it_is_left_alone(
    browser: Browser, live: Path, tmp_path: Path
) -> None:
    with serve(live, None, tmp_path / "served") as running, tab(browser, running.url) as opened:
        opened.open()
        drawn = len(opened.points())
        follow = opened.page.locator(".st-key-follow label").first
        offer = opened.page.get_by_role("button", name=re.compile("new trial"))
        with writing(live, 300):
            follow.click()
            opened.page.wait_for_function(f"({POINTS})().length > {drawn}", timeout=60_000)
            assert offer.count() == 0
            follow.click()
            offer.wait_for(timeout=60_000)
            opened.idle()
            left, offered = opened.page.evaluate(PAINTED), offer.inner_text()
            opened.page.wait_for_timeout(2000 * POLL_SECONDS)
            offer.filter(has_not_text=offered).wait_for(timeout=60_000)  # there are ever more
            assert opened.page.evaluate(PAINTED) == left
        fine(running)


def test_the_keyboard_goes_through_explore_in_the_order_of_sight_and_chooses_a_member(
    browser: Browser, served: Served
) -> None:
    with tab(browser, served.url) as opened:
        opened.open(study="thirty")
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["name"] != "Member of the front":
            assert len(seen) < 60, [one["name"] for one in seen]
            opened.page.keyboard.press("Tab")
            seen.append(opened.page.evaluate(FOCUSED))
        names = [re.sub(":.*", "", one["name"]) for one in seen]
        controls = ["Cost", "Measured on", "Budget, ms", "Colour", "expand_more", "expand_more"]  # View, Filters
        wanted = [*PAGES.values(), "Study", "Follow the search", *controls, "Cheapest", "Knee", "Most accurate"]
        assert [name for name in names if name in wanted] == wanted
        figures = [place for place, one in enumerate(seen) if one["role"] == "figure"]
        assert figures == [names.index("Most accurate") + 1]
        assert "against Latency of" in seen[figures[0]]["name"]
        for before, after in pairwise(seen):
            same = before["part"] == after["part"] and "figure" not in (before["role"], after["role"])
            assert not same or after["y"] > before["y"] + 9 or after["x"] > before["x"], (before, after)
        opened.page.keyboard.press("ArrowDown")
        opened.page.keyboard.press("Enter")
        opened.page.wait_for_url(re.compile(r"trial=\d+"), timeout=30_000)
        opened.idle()
        number = re.search(r"trial=(\d+)", opened.page.url)
        assert number is not None
        assert f"Trial {number[1]}" in opened.page.locator(".st-key-panel h4").inner_text()


def test_hostile_names_errors_and_presets_are_text_and_fetch_nothing(browser: Browser, hostile: Served) -> None:
    with tab(browser, hostile.url, height=1600) as opened:
        for name in PAGES:
            opened.open(name, trial=0, compare="0,1,2", storage="/etc/passwd")
            assert opened.failure() is None, (name, opened.failure())
            foreign = "[src*='198.51.100'], [href*='198.51.100'], [href^='javascript'], img[onerror]"
            assert opened.page.locator(foreign).count() == 0, name
            assert "passwd" not in opened.text()
            if name == "overview":  # as it is written, but for signs without width
                assert HOSTILE in opened.text().replace("\u2060", "")
            picture(opened, f"hostile_{name}")
            opened.check()


def test_the_page_has_neither_the_password_nor_another_storage(browser: Browser, storage: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.db"
    made_up.write_study(small, 3, name="small")
    with serve(small, None, tmp_path / "served") as running, tab(browser, running.url) as opened:
        opened.open(storage=str(storage))
        assert "small" in opened.text()
        assert "ten_thousand" not in opened.text()
        fine(running)
