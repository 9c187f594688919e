"""The Architecture page: any network drawn and counted, a what-if with its own link, and where a trial comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.figures.stages import stage_costs
from dashboard.parts.whatif import parse, written
from explorer.analysis.whatif import change, cost_by_part
from explorer.profile.predict import LEAST
from search_spaces import Architecture, cost, load_space, preset
from search_spaces.errors import InputError
from tests.pages import page
from tests.strategies import samples
from tests.studies import add, evaluation, new_study

HOSTILE = "![x](http://198.51.100.1/a.png) <script>alert(1)</script>"


def fill(path: Path, count: int, name: str = "tiny", latency: bool = True) -> list[Architecture]:
    """A study of so many complete trials of tiny_32 whose latencies follow from their costs; the networks."""
    study = new_study(path, name, ("accuracy", "latency" if latency else "macs"))
    networks = samples(load_space("tiny_32"), count)
    for i, one in enumerate(networks):
        counted = cost(one)
        ms = 0.2 + counted.macs / 8e6 + counted.activations / 2e5
        counts = {name: getattr(counted, name) for name in ("macs", "params", "activations", "params_folded")}
        add(
            study,
            "complete",
            evaluation(50.0 + i, ms if latency else None, accuracy_by_epoch=(30.0, 50.0 + i), **counts),
            id=one.id,
            architecture=one.canonical.to_dict(),
        )
    return networks


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    path = tmp_path_factory.mktemp("architecture") / "x.db"
    fill(path, 30)
    return path


def fine(test):
    assert not test.exception, [error.value for error in test.exception]
    return test


def said(test):
    kinds = (test.text, test.markdown, test.caption, test.code, test.header, test.subheader, test.warning, test.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def metrics(test):
    return {one.label: (one.value, one.delta) for one in test.metric}


def test_a_trial_of_the_link_is_shown_with_its_costs_and_the_command_that_times_it(storage):
    test = fine(page("architecture", storage, trial="7"))
    text = said(test)
    assert "trial 7 · " in text
    assert f"vitscape export --study tiny --storage {storage} --trial 7 --out pareto" in text
    assert "vitscape profile pareto/tiny_0007.yaml --by block" in text
    assert test.query_params["trial"] == "7"


def test_without_a_trial_in_the_link_the_knee_is_shown(storage):
    test = fine(page("architecture", storage))
    number = test.query_params["trial"]
    assert f"trial {number} · " in said(test)


def test_a_published_model_is_shown_by_its_name(storage):
    text = said(fine(page("architecture", storage, preset="swin_t")))
    assert "swin_t · patch/4 · 96×2 window7" in text
    assert "vitscape profile swin_t --by block" in text
    text = said(fine(page("architecture", storage, preset="swin_t", about="Provenance")))
    assert "Top-1 81.2 %, published, ImageNet-1k, other recipe" in text


def test_another_trial_is_chosen_in_its_stead(storage):
    test = fine(page("architecture", storage, preset="swin_t"))
    chooser = test.selectbox(key="_of_trial")
    numbers = [option.removesuffix(" (front)") for option in chooser.options]
    other = next(number for number in numbers if number != chooser.value)
    chooser.set_value(other).run()
    assert f"trial {other} · " in said(fine(test))
    assert test.query_params["trial"] == other
    assert "preset" not in test.query_params


def test_a_trial_that_is_not_there_is_told_with_the_next_step(storage):
    text = said(fine(page("architecture", storage, trial="999")))
    assert "This trial has no architecture to show." in text
    assert "Choose another trial or a published model" in text


def test_a_study_without_trials_says_so_and_still_shows_published_models(tmp_path):
    new_study(tmp_path / "x.db")
    assert "No trial with an architecture yet." in said(fine(page("architecture", tmp_path / "x.db")))
    assert "deit_ti · patch/16" in said(fine(page("architecture", tmp_path / "x.db", preset="deit_ti")))


def test_a_failed_trial_is_drawn_all_the_same_and_says_what_went_wrong(tmp_path):
    network = samples(load_space("tiny_32"), 1)[0]
    study = new_study(tmp_path / "x.db")
    add(study, "failed", architecture=network.canonical.to_dict(), id=network.id, error=HOSTILE, traceback="...")
    test = fine(page("architecture", tmp_path / "x.db", about="Provenance"))
    facts = dict(test.dataframe[0].value.to_numpy())
    assert facts["error"] == HOSTILE
    assert "No learning curve" in said(test)
    assert "http://198" not in said(test)  # only in the table, which shows text as it is


def test_a_what_if_of_a_link_shows_its_costs_and_the_difference(storage):
    test = fine(page("architecture", storage, preset="swin_t", about="What if", edit="mixer3:conv,kernel3:7"))
    edited = change(preset("swin_t"), {"mixer@3": "conv", "kernel@3": 7})
    value, delta = metrics(test)["MACs"]
    assert value == f"{cost(edited).macs / 1e6:,.0f} M"
    assert delta.startswith("-7")
    assert "%" in delta
    text = said(test)
    assert "mixer in stage 3: conv instead of window" in text
    assert "kernel size in stage 3: 7" in text


def test_a_control_that_is_moved_shows_at_once_and_is_in_the_link(storage):
    test = fine(page("architecture", storage, preset="swin_t", about="What if", edit_part="Stage 2"))
    assert metrics(test)["Parameters"] == ("28.3 M", "")
    (width,) = [one for one in test.number_input if one.label == "Width, channels"]
    width.set_value(256).run()
    # 6 heads do not divide it: the nearest number that does
    assert test.query_params["edit"] == "width2:256,heads2:4"
    expected = cost(change(preset("swin_t"), {"width@2": 256, "heads@2": 4})).params
    assert metrics(fine(test))["Parameters"][0] == f"{expected / 1e6:.3g} M"
    (kind,) = [one for one in test.selectbox if one.label == "Token mixer"]
    kind.set_value("conv").run()
    assert test.query_params["edit"] == "width2:256,mixer2:conv"
    test.button(key="reset").click().run()
    assert "edit" not in test.query_params
    assert metrics(fine(test))["Parameters"] == ("28.3 M", "")


def test_what_another_part_has_is_kept_when_the_controls_change_to_it(storage):
    test = fine(page("architecture", storage, preset="swin_t", about="What if", edit="width1:192", edit_part="Stem"))
    (stride,) = [one for one in test.selectbox if one.label.startswith("Stem stride")]
    stride.set_value(8).run()
    assert test.query_params["edit"] == "width1:192,stem_stride:8"


def test_another_base_begins_without_edits(storage):
    test = fine(page("architecture", storage, preset="swin_t", about="What if", edit="stem_stride:2,image_size:64"))
    assert test.query_params["edit"] == "stem_stride:2,image_size:64"
    test.selectbox(key="preset").set_value("deit_ti").run()
    assert "edit" not in test.query_params
    assert "Change a choice, and see here at once" in said(fine(test))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ("heads2:5", "does not divide"),
        ("mixer9:conv", "no such choice"),
        ("nonsense", "is no edit"),
        ("mixer1:" + HOSTILE.replace(",", ""), "is not known"),
        ("width1:1e999", "is not allowed"),
    ],
)
def test_an_impossible_what_if_of_a_link_is_told_and_left_out(storage, edit, why):
    test = fine(page("architecture", storage, preset="swin_t", about="What if", edit=edit))
    (warning,) = test.warning[:1]
    assert why in warning.value.replace("\\", "")
    assert "![x](" not in warning.value
    assert metrics(test)["Parameters"] == ("28.3 M", "")


def test_the_latency_of_an_edited_network_is_predicted_with_its_interval(storage):
    test = fine(page("architecture", storage, trial="7", about="What if", edit="ffn_ratio2:3"))
    text = said(test).replace("\\", "")
    assert "Predicted latency **" in text
    assert "times the original's" in text
    assert "each predicted from the others: mean error" in text


def test_a_network_unlike_the_measured_ones_is_said_to_be(storage):
    text = said(fine(page("architecture", storage, preset="swin_t", about="What if"))).replace("\\", "")
    assert "outside of what was measured, do not rely on it: " in text


def test_too_few_latencies_say_how_many_are_needed(tmp_path):
    fill(tmp_path / "x.db", 5)
    text = said(fine(page("architecture", tmp_path / "x.db", about="What if")))
    assert f"5 trusted measurements, a latency predictor needs {LEAST} or more" in text


def test_no_latency_at_all_says_how_to_measure(tmp_path):
    fill(tmp_path / "x.db", 3, latency=False)
    text = said(fine(page("architecture", tmp_path / "x.db", trial="0", about="What if")))
    assert "No latency in this study, so none can be predicted: run vitscape measure" in text


def test_the_unedited_network_is_its_own_nearest_neighbour_and_links_to_its_trial(storage):
    test = fine(page("architecture", storage, trial="7", about="What if"))
    assert "Trial 7 is this very network." in said(test)
    table = test.dataframe[-1].value
    assert table["trial"].iloc[0] == "architecture?study=tiny&trial=7"
    assert table["choices that differ"].iloc[0] == 0


def test_a_studys_name_is_text_and_not_markup_anywhere(tmp_path):
    fill(tmp_path / "x.db", 2, name=HOSTILE)
    for show in ("Costs", "What if", "Provenance"):
        test = fine(page("architecture", tmp_path / "x.db", HOSTILE, trial="0", show=show))
        shown = [str(one.value) for kind in (test.markdown, test.caption, test.warning) for one in kind]
        assert not any("![x](" in text or "<script" in text for text in shown)


def test_provenance_tells_the_study_the_conditions_and_the_data(storage):
    test = fine(page("architecture", storage, trial="7", about="Provenance"))
    facts = dict(test.dataframe[0].value.to_numpy())
    assert facts["study"] == "tiny"
    assert facts["trial"] == "7"
    assert facts["versions"] == "torch 2.13.0"
    assert facts["device"] == "AMD EPYC"
    assert facts["fingerprint of the data"] == "0"
    assert facts["proxy training"] == "epochs 12, stop epoch 8"
    assert facts["seconds for train"] == "7.5"


def test_a_link_of_edits_reads_as_it_was_written():
    edits = {"mixer@2": "conv", "width@12": 64, "partial@1": 0.25, "local@3": True, "image_size": 224}
    assert parse(written(edits)) == edits
    with pytest.raises(InputError, match="is no edit"):
        parse("width")


def test_the_bars_add_up_to_the_network_and_diamonds_stand_at_the_original():
    original = preset("swin_t")
    edited = change(original, {"width@2": 256, "heads@2": 8})
    figure = stage_costs(cost_by_part(edited), "macs", before=cost_by_part(original))
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert sum(sum(trace.x) for trace in bars) == pytest.approx(cost(edited).macs / 1e6)
    (diamonds,) = [trace for trace in figure.data if trace.type == "scatter"]
    assert dict(zip(diamonds.y, diamonds.x, strict=True))["stage 2"] == pytest.approx(
        (57_802_752 + 2 * (130_357_248 + 231_211_008)) / 1e6
    )
    assert "most in stage 3" in figure.layout.meta["alt"]
    assert "lower is better" in figure.layout.xaxis.title.text


@pytest.mark.parametrize(("width", "lines"), [(360, 6), (1000, 1)])
def test_the_legend_has_room_below_the_axis(width, lines):
    figure = stage_costs(cost_by_part(preset("shvit_s1")), "macs", width=width)
    assert {trace.name for trace in figure.data} >= {"downsampling", "local convolution", "token mixer", "head"}
    assert figure.layout.margin.b >= 60 + 20 * lines
    assert figure.layout.height - figure.layout.margin.t - figure.layout.margin.b > 100


def test_by_block_each_bar_is_one_block():
    figure = stage_costs(cost_by_part(preset("swin_t")), "macs", by_block=True)
    mixer = next(trace for trace in figure.data if trace.name == "token mixer")
    assert dict(zip(mixer.y, mixer.x, strict=True))["stage 3 block ×6"] == pytest.approx(122.981376)
