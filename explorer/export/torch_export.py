"""torch.export's .pt2: the graph of the folded network for any number of images, weights inside."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from explorer.export.subject import Subject
from explorer.export.target import FOLDED, Target


def write_torch_export(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the folded network; its architecture is an extra file in the archive. Returns the shape it takes."""
    import torch

    with torch.no_grad():
        # two images, since torch takes a single one for a constant
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(subject.folded, (subject.images(2),), dynamic_shapes=(batch,))
    content = io.BytesIO()  # torch itself does not survive a full disk
    with warnings.catch_warnings():  # of weights that lie channels-last; that they are read as they were is verified
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        torch.export.save(program, content, extra_files={"architecture.yaml": subject.architecture.to_yaml()})
    path.write_bytes(content.getbuffer())
    size = subject.architecture.image_size
    return {"input": {"images": ["batch", subject.architecture.in_channels, size, size]}}


TORCH_EXPORT = Target(
    file="{name}.pt2",
    write=write_torch_export,
    load="""
import torch

model = torch.export.load("{name}.pt2").module()
""",
    tolerance=FOLDED,
    timed=True,
)
