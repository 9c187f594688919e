"""Whether exported files compute what our network computes, found out in processes that know nothing of ours."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from explorer.export.errors import ExportFailed
from explorer.export.subject import Subject
from explorer.export.target import Target

SCRIPT = Path(__file__).with_name("check.py")
ROUNDINGS = 4  # times the network's own error in float32 that a file's may have: some networks magnify it
BATCHES = (3, 1)  # images in the batches that are compared: a file that takes one number of images alone is found out


@dataclass(frozen=True)
class Agreement:
    """How a file's logits compare with ours."""

    difference: float  # largest, absolute
    scale: float  # largest logit of ours
    tolerance: float  # the difference allowed, as a share of `scale`
    rounding: float | None  # where that is above the target's: what float32 itself makes of our network, likewise
    versions: dict[str, str]  # of what loaded the file
    batches: tuple[int, ...] = BATCHES


@dataclass
class Checker:
    """Fresh processes, one for each set of packages needed, that load what they are given; they end with the block."""

    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def __enter__(self) -> Checker:
        self.temporary = tempfile.TemporaryDirectory(prefix="vitscape-check-")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()
        self.temporary.cleanup()

    @property
    def path(self) -> Path:
        """Where the images and logits lie that files are checked with."""
        return Path(self.temporary.name) / "cases.pt"

    @contextmanager
    def cases(self, subject: Subject) -> Iterator[None]:
        """Within it files are checked with images of noise and what the subject's network, unfolded, makes of them."""
        import torch

        images = [subject.images(count, seed=count) for count in BATCHES]
        with torch.no_grad():
            logits = [subject.network(one) for one in images]
        content = io.BytesIO()  # torch itself does not survive a full disk
        torch.save({"images": images, "logits": logits}, content)
        self.path.write_bytes(content.getbuffer())
        yield
        self.path.unlink()

    def check(self, target: Target, subject: Subject, folder: Path) -> Agreement:
        """How the target's file in `folder` compares with the subject's network, within its `cases`.

        Raises:
            ExportFailed: it does not load, or differs by more than the target's tolerance, and by more than float32
                explains.
        """
        file = target.path(folder, subject).name
        job: dict[str, Any] = {
            "folder": str(folder.resolve()),
            "load": target.code(subject, weights=True),
            "cases": str(self.path),
        }
        process = "_".join(sorted(target.needs)) or "torch"  # those that need the same share one
        job |= {"hidden": "" if target.ours else "search_spaces"}
        job |= {"torchvision": not target.needs.keys().isdisjoint(("timm", "transformers"))}  # which import it
        answer = self._ask(process, job)
        if (error := answer.get("error")) is not None:
            raise ExportFailed(f"{file}: written, but not to be loaded again: {error}")
        difference, scale = answer["difference"], answer["scale"]
        allowed, rounding = target.tolerance, None
        if not difference <= allowed * scale:
            rounding = subject.rounding(BATCHES)
            allowed = max(allowed, ROUNDINGS * rounding)
        if not difference <= allowed * scale:
            raise ExportFailed(
                f"{file}: its logits differ by {difference:.2g} from the network's, whose largest is {scale:.3g}; "
                f"allowed is {allowed:.2g} of that"
            )
        return Agreement(difference, scale, allowed, rounding, answer["versions"])

    def _ask(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        process = self.running.get(name) or self._start(name)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        del self.running[name]  # the next file gets another process
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        return {"error": f"the process that loaded it ended with status {process.wait()}"}

    def _start(self, name: str) -> subprocess.Popen[str]:
        home = str(Path(self.temporary.name))
        offline = {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
        offline |= {"PYTHONDONTWRITEBYTECODE": "1"}
        log = open(Path(home) / f"{name}.log", "w", encoding="utf-8")  # noqa: SIM115  # the process's, for its life
        with log:
            self.running[name] = subprocess.Popen(
                [sys.executable, str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | offline,
            )
        return self.running[name]
