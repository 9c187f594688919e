"""Published checkpoints are read without running them, and their networks compute what the publisher's compute."""

import argparse
import io
import json
import os
import pickle
import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from explorer.weights import import_weights, load_file, read_architecture, read_weights, save_weights
from search_spaces import Architecture, build, load_weights, preset
from search_spaces.blocks.resample import resample_embedding, resample_table
from search_spaces.errors import InputError
from tests.minis import refuses
from tests.reference_timm import Model, Run, timm_runs
from tests.reference_weights import ARCHITECTURES, images_for, reference
from tests.reference_weights import published_weights as drawn_weights
from tests.strategies import randomise
from tests.test_parity import deit_weights, swin_as_timm, with_buffers

pytestmark = pytest.mark.xdist_group("weights")  # what several of them look at is made once

SWIN, SHVIT = "swin_micro_64w4", "shvit_micro"


@lru_cache
def _drawn(name: str) -> dict[str, Tensor]:
    return drawn_weights(name)


def published_weights(name: str) -> dict[str, Tensor]:
    """The weights of a reference, drawn once; the dict is the caller's own."""
    return dict(_drawn(name))


def written(name: str, folder: Path = Path()) -> str:
    """The path of the architecture file of a reference."""
    path = folder / f"{name}.yaml"
    path.write_text(ARCHITECTURES[name]().to_yaml())
    return str(path)


def logits_of(path: Path | str, architecture: Architecture, images: Tensor) -> Tensor:
    with torch.no_grad():
        return load_file(build(architecture), path).double().eval()(images.double())


# parity


@pytest.fixture(scope="module")
def timm(tmp_path_factory) -> dict[str, Run]:
    models = {
        "swin_t": Model("swin_tiny_patch4_window7_224", {}, images_for("swin_t", 224)),
        "shvit_s1": Model("shvit_s1", {}, images_for("shvit_s1", 224)),
    }
    return timm_runs(tmp_path_factory.mktemp("timm"), models)


@pytest.mark.parametrize(("name", "naming"), [("swin_t", "timm Swin"), ("shvit_s1", "timm SHViT")])
def test_a_checkpoint_of_timm_gives_the_logits_of_timm(run, timm, name, naming):
    status, out, err = run("import-weights", name, str(timm[name].checkpoint), "--out", "ours.safetensors")
    assert (status, err) == (0, "")
    assert f"named as by {naming}" in out
    found, wanted = logits_of("ours.safetensors", preset(name), images_for(name, 224)), timm[name].outputs
    assert (wanted[0] - wanted[1]).abs().max() > 0.1 * wanted.abs().max()  # different images, different logits
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(("name", "naming"), [(SWIN, "official Swin"), (SHVIT, "official SHViT")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_official_checkpoint_gives_the_published_logits(run, name, naming, suffix):
    torch.save({"model": with_buffers(published_weights(name)), "epoch": 299}, "official.pth")
    status, out, _ = run("import-weights", written(name), "official.pth", "--out", f"ours{suffix}", "--json")
    told = json.loads(out)
    assert (status, told["naming"], told["fresh"], told["resampled"]) == (0, naming, [], [])
    assert told["architecture_file"] is None
    found = logits_of(f"ours{suffix}", ARCHITECTURES[name](), images_for(name, reference(name).image_size))
    wanted = torch.from_numpy(reference(name).outputs["logits"])
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_what_is_left_over_is_named(run):
    torch.save(with_buffers(published_weights(SWIN)), "official.pth")
    status, out, _ = run("import-weights", written(SWIN), "official.pth", "--out", "ours.pt")
    assert status == 0
    assert "left over, computed, not learned: layers.0.blocks.0.attn.relative_position_index" in out
    told = json.loads(run("import-weights", written(SWIN), "official.pth", "--out", "ours.pt", "--json")[1])
    assert all(key.endswith(("relative_position_index", "attn_mask")) for key in told["left_over"])
    assert len(told["left_over"]) == 12  # 8 indices, 4 masks


def test_the_file_that_is_written_tells_its_architecture_and_where_it_comes_from(run):
    torch.save(published_weights(SWIN), "official.pth")
    run("import-weights", written(SWIN), "official.pth", "--out", "ours.safetensors")
    from safetensors import safe_open

    with safe_open("ours.safetensors", "pt") as file:
        told = file.metadata()
    assert (told["source"], told["naming"], told["id"]) == ("official.pth", "official Swin", ARCHITECTURES[SWIN]().id)
    assert read_architecture("ours.safetensors") == ARCHITECTURES[SWIN]()
    run("import-weights", written(SWIN), "official.pth", "--out", "ours.pt")
    assert read_architecture("ours.pt") == ARCHITECTURES[SWIN]()
    assert read_architecture("official.pth") is None


def test_a_class_token_is_an_error_with_the_way_out(run):
    weights = deit_weights(preset("deit_ti"))
    torch.save({"model": weights | {"cls_token": torch.zeros(1, 1, 192)}}, "deit.pth")
    err = refuses(run, "import-weights", "deit_ti", "deit.pth", "--out", "ours.pt")
    assert "read as DeiT (timm)" in err
    assert "not placed: cls_token" in err
    assert "class_token=False" in err


@pytest.mark.parametrize("how", ["extra", "missing", "transposed"])
def test_what_finds_no_place_is_an_error_and_nothing_is_written(run, how):
    weights = published_weights(SWIN)
    if how == "extra":
        weights["layers.1.blocks.0.attn.scale"] = torch.zeros(3)
    elif how == "missing":
        del weights["norm.bias"]
    else:
        weights["layers.0.blocks.0.attn.qkv.weight"] = weights["layers.0.blocks.0.attn.qkv.weight"].T.contiguous()
    torch.save(weights, "official.pth")
    err = refuses(run, "import-weights", written(SWIN), "official.pth", "--out", "ours.pt")
    told = {"extra": "not placed: layers.1.blocks.0.attn.scale", "missing": "missing: head.norm.bias"}
    assert told.get(how, "wrong shape: stages.0.blocks.0.mixer.body.qkv.weight (24, 72), needs (72, 24)") in err
    assert not Path("ours.pt").exists()


# the head


def test_a_classifier_of_other_classes_is_left_fresh_and_said_so(run):
    torch.save(published_weights(SWIN), "official.pth")
    words = ("import-weights", written(SWIN), "official.pth", "--out")
    assert "classifier of other classes" not in run(*words, "same.pt")[2]
    for more in (["--classes", "7"], ["--classes", "7", "--drop-head"], ["--drop-head"]):
        status, out, _ = run(*words, "ours.safetensors", *more)
        assert status == 0
        assert "left as initialised, to be trained: head.fc.weight, head.fc.bias" in out
        assert "2 left over, the classifier is left as initialised: head.weight, head.bias" in out
    assert "left as initialised" not in run(*words, "ours.safetensors", "--classes", "1000")[1]
    run(*words, "seven.safetensors", "--classes", "7")
    network = load_file(build("seven.yaml"), "seven.safetensors")
    assert network.head.fc.weight.shape == (7, 192)
    assert torch.equal(network.head.norm.weight, published_weights(SWIN)["norm.weight"])
    before = read_weights("seven.safetensors")["head.fc.weight"]
    run(*words, "seven.safetensors", "--classes", "7")
    assert torch.equal(read_weights("seven.safetensors")["head.fc.weight"], before)  # fresh, but the same each time


def test_a_file_with_more_classes_than_the_architecture_names_the_way_out(run):
    weights = published_weights(SWIN)
    weights |= {"head.weight": torch.zeros(21841, 192), "head.bias": torch.zeros(21841)}
    torch.save({"model": weights}, "swin_22k.pth")
    words = ("import-weights", written(SWIN), "swin_22k.pth", "--out", "ours.pt")
    assert "--drop-head" in refuses(run, *words)
    assert run(*words, "--drop-head")[0] == 0


# files


def bytes_of(save) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


class Evil:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def tar_of(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("storages", "tensors", "pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


MALICIOUS = {
    "a zip checkpoint": lambda: bytes_of(lambda f: torch.save({"model": {"a": torch.ones(2), "b": Evil()}}, f)),
    "a legacy checkpoint": lambda: bytes_of(
        lambda f: torch.save({"a": Evil()}, f, _use_new_zipfile_serialization=False)
    ),
    "a pickle": lambda: pickle.dumps({"a": Evil()}, 2),
    "a new pickle": lambda: pickle.dumps({"a": Evil()}, 4),
    "an old pickle": lambda: pickle.dumps({"a": Evil()}, 0),
    "a tar file": lambda: tar_of(pickle.dumps({"a": Evil()}, 2)),
    "a zip without a checkpoint's parts": lambda: zip_of("archive/data.pkl", pickle.dumps(Evil(), 2)),
}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_file_with_code_in_it_is_refused_and_not_executed(run, kind, suffix):
    Path(f"evil.{suffix}").write_bytes(MALICIOUS[kind]())
    err = refuses(run, "import-weights", "swin_t", f"evil.{suffix}", "--out", "ours.pt")
    assert f"evil.{suffix}" in err
    if kind in ("a zip checkpoint", "a legacy checkpoint", "a new pickle", "a tar file") and suffix == "pth":
        assert "not executed" in err
    assert sorted(os.listdir()) == [f"evil.{suffix}"]
    os.system("touch executed")  # and this is how it would have shown
    assert Path("executed").exists()


BAD = {
    "empty": (b"", "is empty"),
    "noise": (bytes(range(256)) * 9, "no checkpoint of torch.save"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    "a pointer of git-annex": (b"/annex/objects/SHA256E-s5--ab.pth\n", "a git-annex pointer"),
    "a web page": (b"\n<!DOCTYPE html><html>Not found</html>", "is a web page"),
    "another zip": (zip_of("readme.txt", b"hello"), "no checkpoint of torch.save"),
    "a list": (bytes_of(lambda f: torch.save([torch.ones(2)], f)), "holds no weights but list"),
    "numbers": (bytes_of(lambda f: torch.save({"epoch": 3, "a": torch.ones(2)}, f)), "no dense tensors: 'epoch' (int)"),
    "no tensors": (bytes_of(lambda f: torch.save({"model": {}}, f)), "holds no tensors"),
    "objects": (bytes_of(lambda f: torch.save({"a": Path("x")}, f)), "holds other things than tensors"),
    "two for one": (
        bytes_of(lambda f: torch.save({"a": torch.ones(2), "_orig_mod.a": torch.ones(2)}, f)),
        "twice under one name",
    ),
    "no header": (b"\x10\0\0\0\0\0\0\0{not json at all", "no safetensors file"),
    "a long header": (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "no safetensors file"),
    "not finite": (
        bytes_of(lambda f: torch.save({"a": torch.tensor([1, float("nan")])}, f)),
        "a holds values that are",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(run, kind):
    data, told = BAD[kind]
    Path("bad.pth").write_bytes(data)
    assert told in refuses(run, "import-weights", "swin_t", "bad.pth", "--out", "ours.pt")


def test_paths_that_are_no_files_are_refused_in_one_line(run):
    torch.save(published_weights(SWIN), "official.pth")
    Path("folder.pt").mkdir()
    assert "no such file" in refuses(run, "import-weights", "swin_t", "there.pth", "--out", "ours.pt")
    assert "is a folder" in refuses(run, "import-weights", "swin_t", "folder.pt", "--out", "ours.pt")
    name = written(SWIN)
    assert "is a folder" in refuses(run, "import-weights", name, "official.pth", "--out", "folder.pt")
    assert "ends with .safetensors" in refuses(run, "import-weights", name, "official.pth", "--out", "ours.onnx")
    assert "is the checkpoint itself" in refuses(run, "import-weights", name, "official.pth", "--out", "official.pth")
    words = ("import-weights", name, "official.pth", "--out", f"{SWIN}.pt", "--window", "2")
    assert "would replace" in refuses(run, *words)
    assert Architecture.load(name) == ARCHITECTURES[SWIN]()
    assert "no stage of" in refuses(run, "import-weights", "shvit_s1", "official.pth", "--out", "o.pt", "--window", "7")
    assert "moving average" in refuses(run, "import-weights", name, "official.pth", "--out", "o.pt", "--use-ema")


def small(folder: Path, suffix: str) -> tuple[Path, dict[str, Tensor]]:
    tensors = {"stem.a": torch.randn(40, 7), "b": torch.arange(5.0), "c": torch.tensor(3)}
    path = folder / f"small{suffix}"
    save_weights(path, tensors, architecture=ARCHITECTURES[SHVIT]())
    return path, tensors


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(tmp_path, suffix, share):
    path, tensors = small(tmp_path, suffix)
    assert all(torch.equal(tensors[key], value) for key, value in read_weights(path).items())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="download it again") as error:
        read_weights(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_its_tensors_are_whole(tmp_path_factory, suffix, data):
    path, tensors = small(tmp_path_factory.mktemp("damaged"), suffix)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found = read_weights(path)
    except InputError as error:
        told = str(error)
        assert "\n" not in told
    else:
        assert all(torch.equal(value, found[key]) for key, value in tensors.items())


def test_damage_is_noticed_where_it_hits_the_checksum_s_own_name_too(tmp_path):
    path, _ = small(tmp_path, ".safetensors")
    content = bytearray(path.read_bytes())
    content[content.index(b'"checksum"') + 1] ^= 1
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged: its bytes are not those that were written"):
        read_weights(path)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x40\0\0\0\0\0\0\0{"]))
def test_any_bytes_are_refused_in_one_line(tmp_path_factory, data, head):
    path = tmp_path_factory.mktemp("bytes") / "any.pth"
    path.write_bytes(head + data)
    with pytest.raises(InputError) as error:
        read_weights(path)
    assert "\n" not in str(error.value)


def test_a_bit_flipped_among_the_weights_is_noticed(tmp_path):
    for suffix in (".pt", ".safetensors"):
        path, tensors = small(tmp_path, suffix)
        content = bytearray(path.read_bytes())
        content[content.index(tensors["stem.a"].numpy().tobytes()) + 100] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read_weights(path)


A, B = torch.ones(2), torch.zeros(2)
WRAPPED = {
    "bare": {"x": A},
    "model": {"model": {"x": A}, "optimizer": {"lr": 1.0}, "args": argparse.Namespace(lr=1.0)},
    "state_dict": {"state_dict": {"x": A}, "epoch": 3},
    "both": {"state_dict": {"model": {"x": A}}},
    "DDP": {"module.x": A},
    "compiled": {"_orig_mod.x": A},
    "DDP of compiled": {"model": {"module._orig_mod.x": A}},
    "compiled DDP": {"model": {"_orig_mod.module.x": A}},
    "the average beside": {"model_ema": {"module.x": B}, "model": {"module.x": A}},
    "the average alone": {"state_dict_ema": {"x": A}},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_and_prefixes_are_taken_off(tmp_path, kind):
    torch.save(WRAPPED[kind], tmp_path / "wrapped.pth")
    found = read_weights(tmp_path / "wrapped.pth")
    assert found.keys() == {"x"}
    assert torch.equal(found["x"], A)


def test_checkpoints_of_old_versions_of_torch_and_files_under_another_suffix_are_read(tmp_path):
    torch.save({"model": {"x": A}}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(tmp_path / "legacy.pth")["x"], A)
    data = (tmp_path / "legacy.pth").read_bytes()
    (tmp_path / "legacy.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="is cut short or damaged"):
        read_weights(tmp_path / "legacy.pth")
    path, tensors = small(tmp_path, ".safetensors")
    assert read_weights(path.rename(tmp_path / "weights.bin")).keys() == tensors.keys()
    torch.save({"x": A}, tmp_path / "zip.safetensors")
    assert torch.equal(read_weights(tmp_path / "zip.safetensors")["x"], A)


def test_the_moving_average_is_taken_on_request(tmp_path):
    torch.save({"model": {"x": A}, "model_ema": {"module.x": B}}, tmp_path / "both.pth")
    assert torch.equal(read_weights(tmp_path / "both.pth", averaged=True)["x"], B)


def test_a_mapping_that_holds_itself_is_refused(tmp_path):
    endless: dict[str, object] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "endless.pth")
    with pytest.raises(InputError, match="more than 8 times"):
        read_weights(tmp_path / "endless.pth")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path, tensors = small(tmp_path, ".safetensors")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, tensors, architecture=ARCHITECTURES[SHVIT](), about={"epoch": 3})
    assert [path] == list(tmp_path.iterdir())
    assert path.read_bytes() == before


# other windows and image sizes


def official_resampling(table: Tensor, size: int) -> Tensor:
    """As `load_pretrained` of the official Swin code has it."""
    old, heads = int(table.shape[0] ** 0.5), table.shape[1]
    square = table.permute(1, 0).reshape(1, heads, old, old)
    stretched = F.interpolate(square, size=(2 * size - 1, 2 * size - 1), mode="bicubic")
    return stretched.view(heads, (2 * size - 1) ** 2).permute(1, 0)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7), (7, 4), (4, 8), (7, 7), (1, 3), (3, 1)])
def test_tables_are_resampled_as_the_official_code_does(old, new):
    table = torch.randn((2 * old - 1) ** 2, 3, dtype=torch.float64)
    assert torch.equal(resample_table(table, new), official_resampling(table, new) if old != new else table)


def test_a_table_of_the_same_size_stays_as_it_is_and_a_smooth_one_survives_the_way_there_and_back():
    d = torch.linspace(-1, 1, 13, dtype=torch.float64)
    bump = torch.exp(-2 * (d[:, None] ** 2 + 0.5 * d[None, :] ** 2 + d[:, None] * d[None, :] / 2))
    table = torch.stack([bump.flatten(), (d[:, None] * torch.ones(13)).flatten()], 1)  # one head even, one odd
    assert resample_table(table, 7) is table
    back = resample_table(resample_table(table, 12), 7)
    assert (back - table).abs().max() < 0.02
    assert (resample_table(table, 12).view(23, 23, 2)[11, 11] - table.view(13, 13, 2)[6, 6]).abs().max() < 0.02


def test_an_embedding_is_resampled_on_its_map():
    ramp = torch.arange(8.0).view(1, 1, 8, 1).expand(1, 3, 8, 8)
    found = resample_embedding(ramp, 16)
    assert found.shape == (1, 3, 16, 16)
    assert torch.allclose(found[0, 0, 3:13, 5], torch.arange(3, 13) / 2 - 0.25, atol=0.05)
    assert resample_embedding(ramp, 8) is ramp


def test_another_window_resamples_the_tables_of_each_stage_and_says_so(run):
    torch.save({"model": swin_as_timm(published_weights(SWIN))}, "timm.pth")
    words = ("import-weights", written(SWIN), "timm.pth", "--out", "wide.safetensors", "--window", "8")
    status, out, _ = run(*words, "--image-size", "128")
    assert status == 0
    sizes = ((4, 8), (4, 8), (4, 8), (2, 4))  # windows shrink to the map: of stage 3 to 2 tokens, now to 4
    for i, (old, new) in enumerate(sizes):
        assert f"stage {i}: 2 bias tables interpolated, window {old} to {new}" in out
    architecture = Architecture.load("wide.yaml")
    assert (architecture.image_size, architecture.stages[1].mixer.size) == (128, 8)
    network = load_file(build("wide.yaml"), "wide.safetensors").eval()
    table = published_weights(SWIN)["layers.1.blocks.1.attn.relative_position_bias_table"]
    found = network.stages[1].blocks[1].mixer.body.relative_position_bias_table
    assert torch.equal(found, official_resampling(table, 8))
    assert network.stages[1].blocks[1].mixer.body.shift == 4  # half of the new window, as it was of the old
    assert torch.equal(
        network.stages[0].blocks[0].mixer.body.qkv.bias, published_weights(SWIN)["layers.0.blocks.0.attn.qkv.bias"]
    )
    logits = network(images_for(SWIN, 128))
    assert logits.shape == (2, 1000)
    assert logits.isfinite().all()


def test_a_smaller_image_shrinks_windows_and_tables(run):
    torch.save(published_weights(SWIN), "official.pth")
    told = json.loads(
        run("import-weights", written(SWIN), "official.pth", "--out", "o.pt", "--image-size", "32", "--json")[1]
    )
    assert {(row["name"][:8], row["from"], row["to"]) for row in told["resampled"]} == {
        ("stages.2", 4, 2),
        ("stages.3", 2, 1),
    }
    assert load_file(build("o.yaml"), "o.pt")(images_for(SWIN, 32)).shape == (2, 1000)


def test_an_absolute_embedding_follows_the_image_size(run):
    torch.save(deit_weights(preset("deit_ti")), "deit.pth")
    status, out, _ = run("import-weights", "deit_ti", "deit.pth", "--out", "deit.safetensors", "--image-size", "96")
    assert status == 0
    assert "position embedding interpolated, 14 x 14 tokens to 6 x 6" in out
    found = read_weights("deit.safetensors")["stem.position.embedding"]
    square = deit_weights(preset("deit_ti"))["pos_embed"].transpose(1, 2).reshape(1, 192, 14, 14)
    assert torch.equal(found, F.interpolate(square, (6, 6), mode="bicubic"))


def test_without_being_asked_a_table_of_another_size_stays_an_error_that_names_the_way_out():
    wide = Architecture.from_dict(ARCHITECTURES[SWIN]().to_dict() | {"image_size": 32})
    with pytest.raises(ValueError, match=r"wrong shape.*resample=True.*--window or --image-size"):
        load_weights(build(wide), published_weights(SWIN))
    network = load_weights(build(wide), published_weights(SWIN), resample=True)
    assert network.stages[3].blocks[0].mixer.body.relative_position_bias_table.shape == (1, 8)


def test_a_table_of_other_heads_is_not_resampled():
    data = ARCHITECTURES[SWIN]().to_dict()
    data["stages"][0]["mixer"]["heads"] = 2
    with pytest.raises(ValueError, match=r"relative_position_bias_table \(49, 1\), needs \(49, 2\)") as error:
        load_weights(build(Architecture.from_dict(data)), published_weights(SWIN), resample=True)
    assert "resample=True" not in str(error.value)


def test_in_python_the_import_is_the_same(tmp_path):
    torch.save(published_weights(SWIN), tmp_path / "official.pth")
    imported = import_weights(ARCHITECTURES[SWIN](), tmp_path / "official.pth", window=2)
    assert imported.naming == "official Swin"
    assert imported.resampled["stages.0.blocks.0.mixer.body.relative_position_bias_table"] == (4, 2)
    assert imported.placed["head.bias"] == "head.fc.bias"
    assert imported.architecture.stages[0].mixer.size == 2
    with pytest.raises(AttributeError):
        imported.naming = "ours"


def test_the_weights_of_a_folded_or_channels_last_network_are_saved_as_they_are(tmp_path):
    network = randomise(build(ARCHITECTURES[SHVIT]()))
    save_weights(tmp_path / "a.safetensors", network.state_dict(), architecture=ARCHITECTURES[SHVIT]())
    again = load_file(build(ARCHITECTURES[SHVIT]()), tmp_path / "a.safetensors").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.state_dict().items())
