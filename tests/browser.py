"""The dashboard as a person meets it: a server process of its own, and pages of it in headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import hypot
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
START_SECONDS, IDLE_SECONDS = 60, 90  # generous: other tests run on the same cores
QUIET_MS = 400  # nothing has changed for so long: the page is idle
# what the console says of graphics without a graphics card, and of Streamlit's own
HARMLESS = re.compile(r"WebGL|GPU stall|Automatic fallback to software|preloaded using link preload")
SOUGHT = re.compile(r"/\w+/_stcore/(health|host-config)$")
# Streamlit's script has ended, nothing is stale or a skeleton, and every chart has been painted.
IDLE = """quiet => {
    const app = document.querySelector("[data-testid=stApp]");
    const ready = app?.dataset.testScriptState === "notRunning" && app.dataset.testConnectionState === "CONNECTED"
        && !document.querySelector("[data-testid=stAppSkeleton], [data-testid=stSkeleton], [data-stale=true]")
        && [...document.querySelectorAll(".vitscape-chart")].every(one => one.querySelector(".main-svg"));
    const painted = [...document.querySelectorAll(".vitscape-chart")].map(one => one.dataset.painted).join();
    if (!ready || window.vitscapePainted !== painted) window.vitscapeIdleSince = undefined;
    window.vitscapePainted = painted;
    if (!ready) return false;
    window.vitscapeIdleSince ??= performance.now();
    return performance.now() - window.vitscapeIdleSince > quiet;
}"""
# Where the points of trials lie in the first chart that has any: number, x and y in pixels of the window.
POINTS = """() => {
    for (const graph of document.querySelectorAll(".vitscape-chart.js-plotly-plot")) {
        const { xaxis, yaxis } = graph._fullLayout, place = graph.getBoundingClientRect();
        const found = graph._fullData.flatMap(trace => {
            if (!trace.customdata || !trace.mode?.includes("markers")) return [];
            return [...trace.x].map((x, i) => ({
                number: [trace.customdata[i]].flat()[0],
                x: place.left + xaxis._offset + xaxis.d2p(x),
                y: place.top + yaxis._offset + yaxis.d2p(trace.y[i]),
            }));
        });
        if (found.length) return found;
    }
    return [];
}"""


@dataclass
class Served:
    """A running dashboard server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    home: Path  # the server's home folder, empty at its start

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """The exit status after a signal, which has to end the server within seconds."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=15)


@contextmanager
def serve(storage: Path | str, study: str | None, folder: Path, *options: str) -> Iterator[Served]:
    """A server as the command line starts it, on a free port, its log and home in a folder of the test's own."""
    home, log = folder / "home", folder / "server.log"
    home.mkdir(parents=True)
    words = ["dashboard", *([study] if study is not None else []), "--storage", str(storage), "--no-browser", *options]
    words += [] if "--port" in options else ["--port", "0"]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parent.parent)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "explorer.cli", *words], cwd=folder, env=environment, stdout=output, stderr=output
        )
    served = Served("", process, log, home)
    try:
        until = time.monotonic() + START_SECONDS
        while not (found := re.search(r"^(http://\S+)  \(", log.read_text(), re.MULTILINE)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        served.url = found[1]
        yield served
    finally:
        served.stop()


def chromium() -> str | None:
    """The path of an installed Chromium or Chrome."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    return next(filter(None, found), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page of the dashboard, watched: what it fetched from elsewhere, what the console said."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def open(self, path: str = "", **query: object) -> None:
        """Opens a page of the app by its path and query, and waits until it is idle."""
        self.page.goto(f"{self.url}/{path}" + (f"?{urlencode(query)}" if query else ""))
        self.idle()

    def idle(self) -> None:
        """Waits until the script has ended and every chart is painted."""
        self.page.wait_for_function(IDLE, arg=QUIET_MS, timeout=IDLE_SECONDS * 1000, polling=100)

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.page.locator("[data-testid=stApp]").inner_text())

    def points(self) -> list[dict[str, Any]]:
        """The trials drawn as points in the first chart that has any: number, x, y."""
        return list(self.page.evaluate(POINTS))

    def alone(self) -> int:
        """The number of the trial whose point is farthest from all others: a click on it cannot mean another."""
        place = self.page.locator(".vitscape-chart .nsewdrag").first.bounding_box()
        assert place is not None
        inside = [
            point
            for point in self.points()
            if 9 < point["x"] - place["x"] < place["width"] - 9 and 9 < point["y"] - place["y"] < place["height"] - 9
        ]
        gaps = {
            point["number"]: min(
                (hypot(point["x"] - one["x"], point["y"] - one["y"]) for one in inside if one is not point), default=0.0
            )
            for point in inside
        }
        return max(gaps, key=lambda number: gaps[number])

    def click_point(self, number: int) -> None:
        """Clicks a trial's point in the chart and waits until the page has answered."""
        at = next(point for point in self.points() if point["number"] == number)
        self.page.mouse.move(at["x"] - 30, at["y"] - 30)
        self.page.mouse.move(at["x"], at["y"], steps=4)
        self.page.wait_for_timeout(300)  # labels follow the pointer late, and a click means the labelled point
        self.page.locator(".hoverlayer .hovertext").first.wait_for(timeout=10_000)
        self.page.mouse.click(at["x"], at["y"])
        self.page.wait_for_timeout(300)
        self.idle()

    def go(self, title: str) -> None:
        """Goes to a page by the sidebar's link to it, as a person does."""
        self.page.locator("[data-testid=stSidebarNavLink]").filter(has_text=title).first.click()
        self.page.wait_for_timeout(100)
        self.idle()

    def download(self, label: str, folder: Path) -> Path:
        """The file that the first download button of this name gives."""
        with self.page.expect_download(timeout=20_000) as started:
            self.page.locator("[data-testid=stDownloadButton]").filter(has_text=label).first.click()
        path = folder / started.value.suggested_filename
        started.value.save_as(path)
        return path

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drags across the first chart, between two places given as shares of its width and height."""
        place = self.page.locator(".vitscape-chart .nsewdrag").first.bounding_box()
        assert place is not None
        (left, top), (right, bottom) = (
            (place["x"] + across * place["width"], place["y"] + down * place["height"]) for across, down in (start, end)
        )
        self.page.mouse.move(left, top)
        self.page.mouse.down()
        self.page.mouse.move(right, bottom, steps=6)
        self.page.mouse.up()
        self.page.wait_for_timeout(600)  # the chart moves there
        self.idle()

    def failure(self) -> str | None:
        """What the page says of a fault of its own, if it does."""
        told = self.page.locator("[data-testid=stException], [data-testid=stAlert]").all_inner_texts()
        return next((text for text in told if "This page failed" in text or "encountered an error" in text), None)

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def paper(self) -> str:
        """The colour of the page's background."""
        return str(
            self.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        )

    def check(self) -> None:
        """Asserts that nothing has gone wrong so far."""
        undrawn = [text for text in self.page.locator(".vitscape-chart").all_inner_texts() if "could not be" in text]
        assert (self.faults, undrawn, self.failure()) == ([], [], None), self.page.url


@contextmanager
def tab(browser: Browser, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Tab]:
    """A fresh browser session at the server's URL; leaving it asserts that nothing went wrong in it."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
    )
    context.add_init_script(
        "document.addEventListener('securitypolicyviolation', event =>"
        " console.error('CSP', event.violatedDirective, event.blockedURI))"
    )
    opened = Tab(context.new_page(), url)

    def asked(address: str) -> None:
        here = urlsplit(url)
        there = urlsplit(address.removeprefix("blob:"))
        if there.scheme != "data" and there.netloc != here.netloc:
            opened.faults.append(f"request to {address}")

    def said(message: ConsoleMessage) -> None:
        # Streamlit looks for its server below a page's own path first
        sought = "404" in message.text and SOUGHT.search(message.location["url"])
        if message.type == "error" and not sought and not HARMLESS.search(message.text):
            opened.faults.append(f"console: {message.text[:500]}")

    def asked_back(dialog: Dialog) -> None:
        opened.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    context.on("request", lambda request: asked(request.url))
    opened.page.on("websocket", lambda socket: asked(socket.url))
    context.on("console", said)
    opened.page.on("pageerror", lambda error: opened.faults.append(f"uncaught: {str(error)[:500]}"))
    opened.page.on("dialog", asked_back)
    try:
        yield opened
        opened.check()
    finally:
        context.close()
