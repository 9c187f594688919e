"""The report of a study: one file, offline, with the numbers that the study has, whatever its names say."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from html import unescape

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.figures.front import front_of
from dashboard.figures.landscape import landscape
from dashboard.report import write_report
from dashboard.report.page import NARROW, Charts, _edits
from explorer.analysis.convergence import common_reference, growth
from explorer.analysis.strongest import strongest_split
from explorer.metrics import MetricError
from explorer.reader import Storage
from explorer.results import frame, front, knee
from explorer.storage import StorageError, load_study
from tests.big import made_up_study
from tests.browser import chromium
from tests.studies import add, evaluation, new_study

POINTS = [(40.0, 0.5), (35.0, 0.7), (62.0, 1.0), (70.0, 2.1), (66.0, 3.0), (74.0, 8.0), (30.0, 9.0)]
HOSTILE = "<img src=http://198.51.100.1/x onerror=alert(1)></script><script>alert(2)</script>"
needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of 150 made-up trials, as text."""
    out = tmp_path_factory.mktemp("report") / "made" / "report.html"
    assert write_report(str(made_up_study(150)), None, out) == out
    return out.read_text(encoding="utf-8")


@pytest.fixture
def storage(tmp_path):
    study = new_study(tmp_path / "x.db")
    for accuracy, ms in POINTS:
        add(study, "complete", evaluation(accuracy, ms))
    return str(tmp_path / "x.db")


def charts(page):
    """The charts of a page, as it holds them."""
    found = re.findall(r"<script type='application/json' data-chart='\w+'>(.*?)</script>", page, re.DOTALL)
    return [json.loads(text) for text in found]


def body(page):
    """The page without its scripts, charts and style."""
    return re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)


def words(page):
    return unescape(re.sub("<[^>]*>", " ", body(page)))


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_it_has_every_part_and_the_studys_own_facts(page):
    headings = [unescape(text) for text in re.findall("<h2>(.*?)</h2>", page)]
    assert headings == [
        "Pareto front",
        "Networks to choose from",
        "Progress of the search",
        "Design space",
        "What the objectives depend on",
        "Learning curves",
        "Devices",
        "What went wrong",
        "How it was made",
    ]
    said = words(page)
    assert "Top-1 (proxy, 8 of 12 epochs), %" in said
    assert "AMD EPYC · threads 1 · eager · fp32 · batch 1" in said
    assert "MACs at most 12.0 M" in said
    table = frame(load_study(None, str(made_up_study(150))))
    assert f"150: {(table['status'] == 'complete').sum()} complete" in said
    assert "vitscape report made_up --storage" in said


def test_it_tells_the_knee_with_its_numbers_its_drawing_and_its_export(page):
    table = frame(load_study(None, str(made_up_study(150))))
    found = knee(table)
    said = words(page)
    assert f"Knee: trial {found['number']}" in said
    assert f"{found['latency_ms']:.3g} ms [" in said
    assert f"--trial {found['number']} --out pareto" in said
    assert len(re.findall(r"<picture>.*?alt='32×32 image", page)) == 3


def test_the_table_of_the_front_has_each_member_once_with_its_interval_and_probability(page):
    table = re.search(r"<figure>.*?<table>(.*?)</table>", body(page), re.DOTALL)[1]
    heads = [unescape(text) for text in re.findall("<th scope=col>(.*?)</th>", table)]
    rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", table)[1:]]
    members = [int(row[0]) for row in rows if row[1] == "on it"]
    assert members == front(frame(load_study(None, str(made_up_study(150)))))["number"].tolist()
    assert {"Latency, ms", "Latency from, ms (95 %)", "Probability of being on the front"} <= set(heads)


def test_every_chart_has_alternative_text_and_a_table(page):
    assert len(charts(page)) == 7
    alts = re.findall(r"role='img' aria-label='(.*?)'", page)
    assert len(alts) == 7
    assert all(len(alt) > 30 for alt in alts)
    assert len(re.findall(r"</script><details><summary>Table</summary>", page)) == 7


def test_the_kept_edits_make_the_very_figures_of_the_dark_and_of_a_narrow_page(page):
    reading = Storage(str(made_up_study(150))).read("made_up")
    scene = landscape(reading.frame, data=reading.data, sure=True)
    first = charts(page)[0]
    for name, theme, width in (("dark", "dark", None), ("narrow", "light", NARROW), ("narrow dark", "dark", NARROW)):
        wanted = json.loads(front_of(scene, data=reading.data, theme=theme, width=width).to_json())
        wanted["layout"].pop("width", None)
        assert edited(first["figure"], first["edits"][name]) == wanted
        assert first["edits"][name]


def edited(figure, edits):
    """The figure after its edits, as the page's script applies them."""
    copy = json.loads(json.dumps(figure))
    for path, *value in edits:
        at = copy
        for key in path[:-1]:
            at = at[key]
        if value:
            at[path[-1]] = value[0]
        else:
            del at[path[-1]]
    return copy


def test_edits_change_lists_and_numbers_that_only_look_alike():
    before, after = {"a": [1, 2], "b": 1, "c": {"d": 1}}, {"a": [1], "b": True, "c": {"e": None}}
    assert json.dumps(edited(before, _edits(before, after)), sort_keys=True) == json.dumps(after, sort_keys=True)


def test_the_split_that_is_shown_is_the_one_that_tells_most():
    table = Storage(str(made_up_study(150))).read("made_up").frame
    chosen = table.assign(accuracy=table["width@2"].astype(float) + 0.01 * table["accuracy"])
    assert strongest_split(chosen, "accuracy") == "width@2"
    assert strongest_split(table[:0], "accuracy") is None


def test_the_hypervolume_is_in_one_unit_and_one_order_in_figure_and_table(page):
    (shown,) = [c["figure"] for c in charts(page) if "Hypervolume" in c["figure"]["layout"]["title"]["text"]]
    tables = [t for t in re.findall("<table>(.*?)</table>", body(page), re.DOTALL) if "Hypervolume, % · ms" in t]
    (written,) = [re.findall("<td[^>]*>(.*?)</td>", table) for table in tables]
    numbers = [int(number.replace(",", "")) for number in written[::2]]
    assert numbers == sorted(numbers)
    line = next(trace for trace in shown["data"] if trace.get("mode") == "lines")
    assert np.frombuffer(base64.b64decode(line["x"]["bdata"]), line["x"]["dtype"]).tolist() == numbers
    reading = Storage(str(made_up_study(150))).read("made_up")
    reference = common_reference([reading.frame], reading.objectives)
    steps = growth(reading.frame, reading.objectives, reference)
    assert numbers == steps["number"].tolist()
    assert [float(volume.replace(",", "")) for volume in written[1::2]] == pytest.approx(steps["hypervolume"], rel=1e-3)
    assert f"latency {reference['latency']:.3g}" in shown["layout"]["title"]["text"]


# --- studies of every kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objectives", [("accuracy",), ("accuracy", "macs"), ("accuracy", "latency", "params")])
def test_one_two_and_three_objectives_have_their_fronts(objectives, tmp_path):
    out = write_report(str(made_up_study(60, objectives)), None, tmp_path / "r.html")
    fronts = [c for c in charts(out.read_text()) if any(t.get("name") == "Pareto front" for t in c["figure"]["data"])]
    assert len(fronts) == max(1, len(objectives) - 1)


def test_other_objectives_than_the_studys_may_be_asked_for(storage, tmp_path):
    page = write_report(storage, "tiny", tmp_path / "r.html", ["accuracy", "macs"]).read_text()
    assert "MACs" in charts(page)[0]["figure"]["layout"]["xaxis"]["title"]["text"]
    assert "--objectives accuracy,macs" in words(page)


def test_a_study_without_a_front_says_what_to_do(tmp_path):
    study = new_study(tmp_path / "x.db")
    page = write_report(str(tmp_path / "x.db"), None, tmp_path / "r.html").read_text()
    assert "No trials yet." in words(page)
    assert "vitscape search" in words(page)
    add(study, "failed", error="OutOfMemoryError: 3 GiB", traceback="Traceback ...")
    said = words(write_report(str(tmp_path / "x.db"), None, tmp_path / "r.html").read_text())
    assert "1 of 1 failed" in said
    assert "OutOfMemoryError: … GiB" in said
    assert not charts(said)


def test_what_users_wrote_is_shown_as_text(tmp_path):
    study = new_study(tmp_path / "x.db", HOSTILE)
    study.set_user_attr("vitscape", study.user_attrs["vitscape"] | {"space_name": HOSTILE})
    for accuracy, ms in POINTS:
        add(study, "complete", evaluation(accuracy, ms), preset=HOSTILE)
    add(study, "failed", error=HOSTILE, traceback=HOSTILE)
    page = write_report(str(tmp_path / "x.db"), HOSTILE, tmp_path / "r.html").read_text()
    assert "<img src=http" not in page
    assert page.count("<script>") == 2  # plotly.js, and what draws the charts
    assert page.count("<script type='application/json'") == len(charts(page))
    assert HOSTILE in words(page)
    for chart in charts(page):
        assert "<img" not in json.dumps(chart["figure"])


def test_no_text_of_a_figure_or_of_its_alternative_ends_its_script():
    careless = go.Figure(layout={"title": {"text": HOSTILE}, "meta": {"alt": f"'>{HOSTILE}"}})
    part = Charts().chart(lambda theme, width: careless)
    (chart,) = charts(part)
    assert chart["figure"]["layout"]["title"]["text"] == HOSTILE
    assert part.count("</script>") == 1
    assert "<img" not in part


def test_a_password_is_in_no_report_and_in_no_command(storage, tmp_path, monkeypatch):
    from explorer import reader

    monkeypatch.setattr(reader, "hide_password", lambda url: "postgresql://ann:***@db.lab/studies")
    said = words(write_report(storage, None, tmp_path / "r.html").read_text())
    assert "postgresql://ann:***@db.lab/studies" in said
    assert "--storage" not in said


# --- the file --------------------------------------------------------------------------------------------------------


def test_nothing_in_it_can_be_fetched_from_elsewhere(page):
    policy = re.search(r'http-equiv=Content-Security-Policy content="(.*?)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert len(scripts) == 2
    assert not re.findall(r"(?:src|href|srcset)='(?!data:image/svg\+xml;base64,|#part)", body(page))
    assert page.count("plotly.js v") == 1


def test_an_existing_file_is_replaced_at_once_and_nothing_else_is_left(storage, tmp_path):
    out = tmp_path / "folder" / "r.html"
    out.parent.mkdir()
    out.write_text("earlier")
    before = out.stat().st_ino
    write_report(storage, None, out)
    assert out.read_text().startswith("<!doctype html>")
    assert out.stat().st_ino != before  # another file took its place: a reader of the earlier one reads on
    assert os.listdir(out.parent) == ["r.html"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~mask


def test_what_cannot_be_reported_is_one_line_and_leaves_the_earlier_file(storage, tmp_path):
    out = tmp_path / "r.html"
    out.write_text("earlier")
    blocked = tmp_path / "blocked"
    blocked.touch()
    folder = tmp_path / "folder.html"
    folder.mkdir()
    for fault, said, arguments in [
        (StorageError, "does not exist", (str(tmp_path / "wrong.db"), None, out)),
        (StorageError, "no study 'other'", (storage, "other", out)),
        (StorageError, "cannot write", (storage, None, blocked / "r.html")),
        (StorageError, "cannot write", (storage, None, folder)),
        (MetricError, "unknown metric 'speed'", (storage, None, out, ["accuracy", "speed"])),
    ]:
        with pytest.raises(fault, match=said) as caught:
            write_report(*arguments)
        assert "\n" not in str(caught.value)
    assert out.read_text() == "earlier"
    assert not (tmp_path / "wrong.db").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_it_is_written_without_torch_and_streamlit(storage, tmp_path):
    code = (
        "import sys; from pathlib import Path; from dashboard.report import write_report;"
        f"write_report({storage!r}, None, Path({str(tmp_path / 'r.html')!r}));"
        "assert not {'torch', 'streamlit'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@needs_chromium
@pytest.mark.e2e
@pytest.mark.xdist_group("browser")
def test_it_draws_every_chart_offline_light_dark_narrow_and_on_paper(tmp_path, browser):
    out = write_report(str(made_up_study(150)), None, tmp_path / "r.html")
    for width, scheme in ((1100, "light"), (390, "dark")):
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        faults = []
        tab.on("console", lambda message, found=faults: found.append(message.text))
        tab.on("pageerror", lambda error, found=faults: found.append(str(error)))
        tab.on("request", lambda request, found=faults: _elsewhere(request.url, found))
        tab.goto(out.as_uri())
        until(tab, "document.querySelectorAll('.gtitle').length === 7")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        paper = "getComputedStyle(document.querySelector('.main-svg')).backgroundColor"
        assert tab.evaluate(paper) == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        tab.emulate_media(color_scheme="dark")  # a page that is open follows its reader
        until(tab, f"{paper} === 'rgb(13, 17, 23)'")
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        until(tab, f"{paper} === 'rgb(255, 255, 255)'")
        assert faults == []
        tab.close()


def until(tab, expression):
    """Waits until an expression is true; the page's own policy forbids playwright's way of waiting."""
    for _ in range(300):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(100)
    pytest.fail(f"never true: {expression}")


def _elsewhere(url, found):
    if not url.startswith(("file:", "data:", "blob:")):
        found.append(url)
