"""How fast the dashboard answers at scale: first paint, a filter, a budget, choosing a trial, and the server's memory.

    python -m benchmarks.dashboard [--trials 100000] [--against-optuna-dashboard]

A server as `vitscape dashboard` starts it, with an empty home, and headless Chromium on the same machine, drawing
in software. A first paint is the time from the start of the navigation until the front's points are drawn: cold in a
server that has just started and has read nothing, warm in a new session of one that has. The other times are from the
click or the key until the answer is on the page. optuna-dashboard is timed on 10,000 trials, if it is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.table import Table

from tests.big import made_up_study
from tests.browser import Served, Tab, chromium, launched, serve, tab

COLD, WARM, CHANGES = 3, 5, 7  # repeats
OTHERS_TRIALS = 10_000  # optuna-dashboard needs minutes for more
PATIENCE = 60_000  # milliseconds
PAINTED = "() => document.querySelector('.vitscape-chart .main-svg path.point') ? performance.now() : 0"
DRAWN = "() => document.querySelector('.js-plotly-plot .main-svg path.point') ? performance.now() : 0"
FRONT = "document.querySelector('.st-key-chart_front .vitscape-chart, .vitscape-chart')"


def main() -> None:
    """Print one row a measurement, then the conditions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--against-optuna-dashboard", action="store_true")
    options = parser.parse_args()
    if chromium() is None:
        parser.error("Chromium is missing: apt-get install chromium")
    load = os.getloadavg()[0]
    storage = made_up_study(options.trials)
    table = Table(title=f"The dashboard at {options.trials:,} trials", title_justify="left", box=None)
    for heading in ("", "median", "least to most", "repeats", "goal", ""):
        table.add_column(heading, justify="left" if heading == "" else "right")
    with launched() as browser:
        for name, unit, goal, values in _measured(browser, storage):
            _row(table, name, unit, goal, values)
        if options.against_optuna_dashboard:
            _row(table, *_first_paints_of_optuna_dashboard(browser))
        conditions = _conditions(browser, load)
    console = Console(width=140)
    console.print(table)
    console.print(conditions, highlight=False)


def _measured(browser: Browser, storage: Path) -> Iterator[tuple[str, str, float | None, list[float]]]:
    """Name, unit, goal and values of every measurement."""
    cold, starts = [], []
    for _ in range(COLD):
        began = time.perf_counter()
        with _server(storage) as served:
            starts.append(time.perf_counter() - began)
            cold.append(_first_paint(browser, served.url))
    yield "the server's start", "s", None, starts
    yield "first paint, cold", "s", 6.0, cold
    with _server(storage) as served:
        _first_paint(browser, served.url)
        yield "first paint, warm", "s", 3.0, [_first_paint(browser, served.url) for _ in range(WARM)]
        with tab(browser, served.url, width=1400) as explore:
            explore.open()
            yield "a budget changed", "s", 1.0, _budgets(explore)
            yield "a filter changed", "s", 1.0, _filters(explore)
            yield "a trial chosen", "s", 0.2, _choices(explore)
        yield "memory of the server, now", "MB", 400.0, [_memory(served.process.pid, "VmRSS")]
        yield "memory of the server, most", "MB", 400.0, [_memory(served.process.pid, "VmHWM")]


@contextmanager
def _server(storage: Path) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder, serve(storage, None, Path(folder)) as served:
        yield served


def _first_paint(browser: Browser, url: str, drawn: str = PAINTED) -> float:
    """Seconds from the start of a navigation until there are points, in a new session."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(url, wait_until="commit", timeout=PATIENCE)
    handle = page.wait_for_function(drawn, timeout=PATIENCE, polling=16)
    seconds = float(handle.json_value()) / 1000
    context.close()
    return seconds


def _budgets(explore: Tab) -> list[float]:
    """Seconds from Enter in the budget until the sentence and the chart are of it."""
    box = explore.page.locator(".st-key-budget input")
    found = []
    for i in range(CHANGES):
        value = f"{1.0 + 0.1 * i:.1f}"
        box.fill(value)
        said = f"document.body.innerText.includes('under {float(value):g} ')"
        found.append(_until(explore, lambda: box.press("Enter"), f"repainted() && {said}"))
    box.fill("")
    box.press("Enter")
    explore.idle()
    return found


def _filters(explore: Tab) -> list[float]:
    """Seconds from a click on a filter (latencies with verdict ok alone, and all again) until the chart is of it."""
    explore.page.get_by_role("button", name="Filters").click()
    switch = explore.page.locator(".st-key-ok label").first
    switch.wait_for()
    found = [_until(explore, lambda: switch.click(), "repainted()") for _ in range(CHANGES)]
    explore.page.get_by_role("button", name="Filters").click()  # what lies under it can be pointed at again
    switch.wait_for(state="hidden")
    explore.idle()
    return found


def _choices(explore: Tab) -> list[float]:
    """Seconds from a click on a point until its panel shows the trial; the pointer rests on the point before."""
    found, page = [], explore.page
    for point in explore.points()[-4 * CHANGES :: 2]:  # the front is drawn last, over the others
        number = point["number"]
        shown = f"document.querySelector('.st-key-panel h4')?.innerText.trim().split(' ')[1] === '{number}'"
        page.mouse.move(point["x"] - 30, point["y"] - 30)
        page.mouse.move(point["x"], point["y"], steps=4)
        if page.evaluate(shown) or not _rests_on(page, number):
            continue
        found.append(_until(explore, lambda at=point: page.mouse.click(at["x"], at["y"]), shown))
        if len(found) == CHANGES:
            break
    return found


def _rests_on(page: Page, number: int) -> bool:
    """Whether the chart names this trial under the pointer; another mark may lie over its point."""
    for _ in range(50):
        label = page.evaluate("document.querySelector('.hoverlayer .hovertext')?.textContent ?? ''")
        told = re.search(r"trial (\d+)", label)
        if told is not None and int(told[1]) == number:
            return True
        page.wait_for_timeout(50)
    return False


def _until(explore: Tab, act: Any, condition: str) -> float:
    """Seconds from an action until a condition holds; in it repainted() tells whether the chart was drawn again."""
    painted = f"Number({FRONT}?.dataset.painted ?? 0)"
    explore.page.evaluate(f"() => {{ window.painted = {painted}; window.began = performance.now(); }}")
    act()
    check = f"() => {{ const repainted = () => {painted} > window.painted;"
    check += f" return {condition} ? performance.now() - window.began : 0; }}"
    handle = explore.page.wait_for_function(check, timeout=PATIENCE, polling=16)
    seconds = float(handle.json_value()) / 1000
    explore.idle()
    return seconds


def _first_paints_of_optuna_dashboard(browser: Browser) -> tuple[str, str, float | None, list[float]]:
    """The first paint of optuna-dashboard's page of a study with the Pareto front, in servers just started."""
    name = f"optuna-dashboard, first paint, {OTHERS_TRIALS:,} trials"
    program = shutil.which("optuna-dashboard")
    if program is None:
        return f"{name}: not installed (pip install optuna-dashboard)", "s", None, []
    storage = made_up_study(OTHERS_TRIALS)
    found = []
    for port in (18431, 18432, 18433):
        words = [program, f"sqlite:///{storage}", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}/dashboard"
            _wait_for(url)
            found.append(_first_paint(browser, f"{url}/studies/1", DRAWN))
        finally:
            process.terminate()
            process.wait(timeout=30)
    return f"{name} (version {_version_of(program)})", "s", None, found


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no answer from {url}")


def _version_of(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().split(" ")[-1]


def _memory(pid: int, what: str) -> float:
    """Megabytes (10^6) of a process and its children: VmRSS is now, VmHWM the most so far (each its own most)."""
    kilobytes = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # it has ended
            continue
        if pid in (int(fields["Pid"]), int(fields["PPid"])):
            kilobytes += int(fields.get(what, "0 kB").split()[0])
    return kilobytes * 1024 / 1e6


def _row(table: Table, name: str, unit: str, goal: float | None, values: list[float]) -> None:
    digits = 0 if unit == "MB" else 2
    if not values:
        table.add_row(name, "–", "", "0", "", "")
        return
    middle = statistics.median(values)
    met = "" if goal is None else "met" if middle <= goal else "MISSED"
    limit = "" if goal is None else f"{goal:g} {unit}"
    span = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
    table.add_row(name, f"{middle:.{digits}f} {unit}", span, str(len(values)), limit, met)


def _conditions(browser: Browser, load: float) -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    versions = ", ".join(f"{name} {version(name)}" for name in ("streamlit", "plotly", "optuna", "pandas"))
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} before; Linux {platform.release()},"
        f" Python {platform.python_version()}, {versions}, Chromium {browser.version} (headless, software), 1400 x 900;"
        " server and browser share the machine; SQLite on a local disk, in the page cache"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()
