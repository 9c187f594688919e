"""The measuring protocol, its statistics, and peak memory."""

import gc
import math
import random
import time
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from explorer.profile.latency import measure, median_ci, resolve_device
from explorer.profile.lease import device_lease
from explorer.profile.memory import peak_memory_mb
from explorer.profile.watch import WATCHES, Watch

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def leases(tmp_path, monkeypatch):
    """Lock files of this test's own, so that nobody who really measures here is waited for."""
    monkeypatch.setenv("VITSCAPE_LEASES", str(tmp_path))
    monkeypatch.setenv("VITSCAPE_STATE", str(tmp_path / "state"))
    return tmp_path


class Sleep(nn.Module):
    """Takes the seconds that `of_pass(n)` says for its n-th pass, and writes down what it saw."""

    passes = 0
    seen: dict

    def __init__(self, of_pass):
        super().__init__()
        self.of_pass = of_pass
        Sleep.passes = 0  # of the class, since a copy of the module is what runs
        self.weight = nn.Parameter(torch.zeros(2, 3, 1, 1))

    def forward(self, x):
        Sleep.passes += 1
        Sleep.seen = {
            "shape": tuple(x.shape),
            "dtype": (x.dtype, self.weight.dtype),
            "channels_last": x.is_contiguous(memory_format=torch.channels_last),
            "inference": torch.is_inference_mode_enabled(),
            "training": self.training,
            "threads": torch.get_num_threads(),
            "gc": gc.isenabled(),
        }
        time.sleep(self.of_pass(Sleep.passes))
        return x


# --- statistics


def coverage(n: int, rank: int) -> Fraction:
    """Probability that the true median lies between the rank-th smallest and the rank-th largest of n samples."""
    return Fraction(sum(math.comb(n, below) for below in range(rank, n - rank + 1)), 2**n)


@pytest.mark.parametrize("n", [*range(6, 130), 500, 1074, 1075, 3001])
def test_the_interval_of_the_median_is_the_narrowest_that_is_sure_enough(n):
    _, low, high = median_ci([float(value) for value in range(n)])
    rank = int(low) + 1
    assert high == n - rank
    assert coverage(n, rank) >= Fraction(95, 100) > coverage(n, rank + 1)


@given(st.lists(st.floats(0.001, 1e6), min_size=6, max_size=60), st.randoms())
def test_the_interval_holds_the_median_has_samples_as_ends_and_needs_no_order(samples, shuffler):
    middle, low, high = median_ci(samples)
    assert low <= middle <= high
    assert {low, high} <= set(samples)
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    assert median_ci(shuffled) == (middle, low, high)


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    draw = random.Random(0)
    holds = 0
    for _ in range(2000):
        _, low, high = median_ci([draw.lognormvariate(0, 1) for _ in range(37)])  # its median is 1
        holds += low <= 1 <= high
    assert 0.94 < holds / 2000 < 0.99


def test_fewer_than_six_samples_have_no_95_percent_interval():
    with pytest.raises(ValueError, match="5 samples are too few"):
        median_ci([1.0, 2.0, 3.0, 4.0, 5.0])
    assert median_ci([1.0, 2.0, 3.0], confidence=0.5) == (2.0, 1.0, 3.0)


# --- the protocol


def test_a_pass_of_five_milliseconds_is_measured_as_such():
    latency = measure(Sleep(lambda n: 0.005), image_size=8)
    assert 5 <= latency.median_ms * latency.correction < 9
    assert latency.ci95_ms[0] <= latency.median_ms <= latency.ci95_ms[1]


def test_a_converged_measurement_is_as_narrow_as_asked(monkeypatch):
    monkeypatch.setitem(WATCHES, "cpu", lambda device, cores: Watch())  # a sleep is no interruption
    draw = random.Random(0)
    # of uniform times from 1 to 3 ms, thirty give an interval of about 16 % to either side: more are needed
    latency = measure(Sleep(lambda n: draw.uniform(0.001, 0.003)), image_size=8, target=0.08, time_limit_s=60)
    assert latency.stop == "converged"
    assert latency.samples > 30
    assert (latency.ci95_ms[1] - latency.ci95_ms[0]) / 2 <= 0.1 * latency.median_ms


def test_a_measurement_that_does_not_converge_ends_at_its_time_limit_and_says_so():
    draw = random.Random(0)
    start = time.perf_counter()
    latency = measure(Sleep(lambda n: draw.uniform(0.0005, 0.004)), image_size=8, target=0.0001, time_limit_s=0.3)
    assert latency.stop == "time_limit"
    assert 0.3 <= time.perf_counter() - start < 5


def test_a_slow_network_gets_the_six_samples_that_an_interval_needs():
    latency = measure(Sleep(lambda n: 0.03), image_size=8, time_limit_s=0.05)
    assert (latency.stop, latency.samples) == ("time_limit", 6)


def test_warming_up_lasts_until_the_passes_have_become_steady(monkeypatch):
    begun_at = []

    class Note(Watch):
        def begin_block(self):
            begun_at.append(Sleep.passes)

    monkeypatch.setitem(WATCHES, "cpu", lambda device, cores: Note())
    getting_faster = Sleep(lambda n: max(0.02, 0.06 * 0.9**n))  # steady from the 11th pass on; a block is one pass
    measure(getting_faster, image_size=8, target=0.2)
    assert begun_at[0] >= 11


def test_the_network_runs_as_it_is_deployed():
    latency = measure(
        Sleep(lambda n: 0.001), image_size=8, in_channels=4, batch_size=2, precision="bf16", time_limit_s=0.2
    )
    assert Sleep.seen == {
        "shape": (2, 4, 8, 8),
        "dtype": (torch.bfloat16, torch.bfloat16),
        "channels_last": True,
        "inference": True,
        "training": False,
        "threads": 1,
        "gc": False,
    }
    conditions = latency.conditions
    assert (conditions.device, conditions.runtime, conditions.precision) == ("cpu", "eager", "bf16")
    assert (conditions.batch_size, conditions.image_size, conditions.threads) == (2, 8, 1)
    assert conditions.torch == torch.__version__
    assert conditions.device_name.strip()


@pytest.mark.parametrize("fails", [False, True])
def test_measuring_leaves_the_model_and_the_process_as_they_were(fails):
    def of_pass(n: int) -> float:
        if fails and n == 5:
            raise KeyError("broken network")
        return 0.001

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = Sleep(of_pass).train()
        if fails:
            with pytest.raises(KeyError):
                measure(model, image_size=8, precision="bf16")
        else:
            measure(model, image_size=8, precision="bf16", time_limit_s=0.1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert gc.isenabled()
    assert model.training
    assert model.weight.dtype is torch.float32
    with device_lease("cpu", on_wait=lambda pid: pytest.fail("the lease was kept")):
        pass


@pytest.mark.parametrize(
    ("argument", "way_out"),
    [
        ({"device": "cuda:77"}, "available: cpu"),
        ({"device": "tpu"}, "available: cpu"),
        ({"precision": "int8"}, "fp32, fp16, bf16"),
        ({"runtime": "abacus"}, "eager"),
        ({"batch_size": 0}, "at least 1"),
        ({"image_size": 0}, "at least 1"),
        ({"threads": 0}, "cores"),
        ({"threads": 4096}, "cores"),
        ({"target": 0.0}, "between 0 and 1"),
        ({"time_limit_s": 0.0}, "above 0"),
        ({"time_limit_s": math.nan}, "above 0"),
    ],
)
def test_a_bad_argument_is_named_with_its_value_and_the_way_out(argument, way_out):
    (name, value) = next(iter(argument.items()))
    with pytest.raises(ValueError, match=name) as error:
        measure(Sleep(lambda n: 0.001), **{"image_size": 8, **argument})
    message = str(error.value)
    assert str(value) in message
    assert way_out in message
    assert "\n" not in message


def test_a_precision_that_the_device_lacks_is_told_in_one_line():
    class NoHalf(nn.Module):
        def forward(self, x):
            raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'\nException raised from ...")

    with pytest.raises(ValueError, match=r"precision='fp16' does not run on cpu: .* use fp32") as error:
        measure(NoHalf(), image_size=8, precision="fp16")
    assert "\n" not in str(error.value)


def test_auto_is_a_gpu_where_there_is_one_and_the_cpu_elsewhere():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == torch.device("cpu")


# --- memory

X = 3 * 32 * 32 * 4  # bytes of one image
H = 64 * 32 * 32 * 4  # bytes of one hidden map


def hidden() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU(), nn.Conv2d(64, 3, 1))


WEIGHTS = (64 * 3 + 64 + 3 * 64 + 3) * 4


def test_peak_memory_is_weights_input_and_what_lives_at_once():
    # the peak is in the ReLU: image, its input and its output
    assert peak_memory_mb(hidden(), image_size=32) * 2**20 == WEIGHTS + X + 2 * H
    assert peak_memory_mb(hidden(), image_size=32, batch_size=2) * 2**20 == WEIGHTS + 2 * (X + 2 * H)
    assert peak_memory_mb(hidden(), image_size=32, precision="bf16") * 2**20 == (WEIGHTS + X + 2 * H) / 2


def test_an_operator_in_place_needs_no_second_map():
    model = hidden()
    model[1] = nn.ReLU(inplace=True)
    assert peak_memory_mb(model, image_size=32) * 2**20 == WEIGHTS + X + H + X


def test_what_a_residual_keeps_alive_is_counted_until_it_is_let_go():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.zeros(1000)  # no buffer, but read in the pass

        def forward(self, x):
            kept = x * 2
            x = (kept + 1).relu()
            x = kept + x
            del kept
            x = x.sigmoid()
            return x + self.table[0]

    # the image, kept, kept + 1, its relu; then the image, kept, the relu, kept + x; the table was there all along
    assert peak_memory_mb(Residual(), image_size=32) * 2**20 == 4000 + 4 * X


def test_weights_that_two_layers_share_are_counted_once():
    layer = nn.Conv2d(3, 3, 1)
    assert peak_memory_mb(nn.Sequential(layer, layer), image_size=32) * 2**20 == 12 * 4 + X + 2 * X


# --- on a GPU


@on_gpu
def test_a_gpu_is_measured_by_its_own_clock():
    latency = measure(hidden(), image_size=32, device="cuda", precision="fp16", batch_size=8)
    assert latency.median_ms > 0
    assert latency.conditions.device == "cuda"
    assert latency.conditions.device_name == torch.cuda.get_device_name()
    assert latency.conditions.threads is None


@on_gpu
def test_a_gpu_s_time_is_not_that_of_launching():
    wide = nn.Sequential(*(nn.Conv2d(1024, 1024, 1) for _ in range(4)))  # 4 x 2^20 x 16384 x 8 MACs
    latency = measure(wide, image_size=128, in_channels=1024, device="cuda", batch_size=8)
    assert latency.median_ms > 4 * 2 * 2**20 * 16384 * 8 / 1e12  # 1000 TFLOP/s, which no GPU reaches in fp32


@on_gpu
def test_peak_memory_on_a_gpu_is_the_same_twice_and_holds_the_weights():
    first = peak_memory_mb(hidden(), image_size=32, device="cuda")
    assert first * 2**20 >= WEIGHTS + X + 2 * H
    assert peak_memory_mb(hidden(), image_size=32, device="cuda") == first
