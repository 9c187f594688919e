"""The device that a search measures on, as the study keeps it: this process's own, or asked of a node of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.setup import Setup


@dataclass(frozen=True)
class Place:
    """What the latencies of a study have in common beside its options, and in what its trainings calculate."""

    device: str  # torch's, without index
    device_name: str
    torch: str  # version
    libraries: dict[str, str]  # versions of what else executes networks
    protocol: int  # of the measuring
    training_precision: str

    @classmethod
    def here(cls, setup: Setup) -> Place:
        """The device of this machine that a setup means, after asserting that the setup can be used on it.

        Raises:
            InputError: no such device, not as many cores, or a runtime that cannot run there; one line.
        """
        import torch

        from explorer.evaluate import training_precision
        from explorer.profile.cores import require_cores
        from explorer.profile.latency import PROTOCOL, device_name, resolve_device
        from explorer.profile.runtimes import RUNTIMES, require_runtime

        device = resolve_device(setup.device)
        libraries: dict[str, str] = {}
        for runtime in setup.runtimes:
            require_runtime(runtime, device)
            libraries |= RUNTIMES[runtime].libraries(device)
        if device.type == "cpu":
            require_cores(setup.threads)
        return cls(
            device=device.type,
            device_name=device_name(device),
            torch=torch.__version__,
            libraries=libraries,
            protocol=PROTOCOL,
            training_precision=training_precision(str(device)),
        )
