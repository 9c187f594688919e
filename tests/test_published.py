"""What is published of the models that ship as presets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from explorer.published import COLUMNS, published
from tests.published import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_costs_what_its_published_code_costs(name):
    (row,) = published()[published()["name"] == name].to_dict("records")
    assert (row["params"], row["macs"]) == (PUBLISHED[name][0], PUBLISHED[name][2])
    assert 70 < row["top1"] < 90
    assert "ImageNet-1k" in row["source"]


def test_models_come_by_rising_cost_with_the_stated_columns():
    table = published()
    assert list(table.columns) == list(COLUMNS)
    assert list(table["macs"]) == sorted(table["macs"])
    assert len(table) == len(PUBLISHED)


def test_one_image_size_leaves_models_of_that_size_alone():
    assert list(published(256)["name"]) == ["shvit_s4"]
    assert "shvit_s4" not in list(published(224)["name"])
    assert published(32).empty


def test_what_a_caller_does_to_the_table_stays_with_the_caller():
    mine = published()
    mine.loc[0, "top1"] = 0.0
    assert published().loc[0, "top1"] > 70


def test_knowing_what_is_published_needs_no_torch():
    code = "import sys; from explorer.published import published; published(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
