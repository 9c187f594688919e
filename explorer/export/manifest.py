"""`export.json`: what an export wrote, its hashes, how it was verified, how it is loaded and trained on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from explorer.export.errors import ExportError
from explorer.export.subject import Subject
from explorer.export.target import Target
from explorer.export.write import Written, remove

NAME = "export.json"
FORMAT = "vitscape/export@1"
SUFFIXES = (".yaml", ".json", ".py", ".pt", ".onnx", ".pt2")  # of files that a manifest may ask to be removed


class Manifest:
    """The list of a folder's exports, kept from one export to the next."""

    def __init__(self, folder: Path, study: str | None) -> None:
        self.path = folder / NAME
        self.study = study
        before = _read(self.path)
        self.earlier: list[str] = before["files"] if before["study"] == study else []
        self.exports: dict[str, Any] = before["exports"] if before["study"] == study else {}
        self.files: list[str] = []

    def add(self, subject: Subject, targets: Mapping[str, Target], written: Sequence[Written]) -> None:
        """Note what was written of a subject, and write the manifest."""
        self.files += [one.path.name for one in written]
        kept = self.exports.get(subject.name, {}).get("files", {})
        entry: dict[str, Any] = {
            "architecture": subject.architecture.canonical.to_dict(),
            "id": subject.architecture.id,
        }
        entry |= {"description": subject.architecture.description, **subject.origin}
        entry |= {"weights": _weights(subject), "train": _train(subject, written)}
        entry |= {"files": kept | {one.path.name: _file(one, subject, targets) for one in written}}
        self.exports[subject.name] = entry
        self.write()

    def tell(self, subject: Subject, file: str, latencies: list[dict[str, Any]]) -> None:
        """Note what a file's latencies are, one a batch size, and write the manifest."""
        self.exports[subject.name]["files"][file]["latencies"] = latencies
        self.write()

    def write(self, *, replace: bool = False) -> None:
        """Write it, whole or not at all; where it replaces an earlier front, without what is no longer on that."""
        if replace:
            for name in set(self.earlier) - set(self.files):
                stale = self.path.with_name(Path(name).name)
                if stale.suffix in SUFFIXES or (stale / "modeling_vitscape.py").is_file():
                    remove(stale)
            self.earlier = []
            of = {name: [file for file in entry["files"] if file in self.files] for name, entry in self.exports.items()}
            self.exports = {name: entry for name, entry in self.exports.items() if of[name]}
        names = dict.fromkeys([*self.earlier, *self.files])
        data: dict[str, Any] = {"format": FORMAT, "study": self.study, "files": list(names)}
        data |= {"written": datetime.now(timezone.utc).isoformat(timespec="seconds"), "versions": _versions()}
        data |= {"exports": self.exports}
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".export-", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        os.chmod(name, 0o644)
        os.replace(name, self.path)


def _file(one: Written, subject: Subject, targets: Mapping[str, Target]) -> dict[str, Any]:
    told: dict[str, Any] = {"target": one.target, **dict(one.told)}
    if one.path.is_dir():
        inside = sorted(path for path in one.path.iterdir() if path.is_file())
        told |= {"bytes": sum(path.stat().st_size for path in inside), "sha256": {p.name: _hash(p) for p in inside}}
    else:
        told |= {"bytes": one.path.stat().st_size, "sha256": _hash(one.path)}
    if one.target in targets:
        told["load"] = targets[one.target].code(subject)
    if one.agreement is not None:
        found = one.agreement
        told["verified"] = {
            "logits_differ_by": found.difference,
            "largest_logit": found.scale,
            "tolerance": found.tolerance,
            "batches": list(found.batches),
            "versions": found.versions,
        }
    return told


def _weights(subject: Subject) -> dict[str, Any]:
    if subject.weights is None:
        return {"trained": False, "remark": "random; where a file holds weights, it is good for timing alone"}
    return {"trained": True, "file": str(subject.weights), "sha256": _hash(subject.weights)}


def _train(subject: Subject, written: Sequence[Written]) -> str:
    """The command that trains the architecture in earnest."""
    file = next((one.path.name for one in written if one.target in ("yaml", "json")), "ARCHITECTURE.yaml")
    return f"vitscape train {shlex.quote(file)} --data SOURCE:/path --epochs 300"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "vitscape": version("vitscape")}
    for name in ("torch", "onnx", "onnxruntime", "timm", "transformers"):
        try:
            found[name] = version(name)
        except ImportError:  # importlib.metadata's PackageNotFoundError
            continue
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """What an earlier manifest says, as far as it is to be believed: it may come from anywhere."""
    nothing: dict[str, Any] = {"study": object(), "files": [], "exports": {}}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return nothing
    if not (isinstance(found, dict) and isinstance(found.get("files"), list) and "study" in found):
        return nothing
    files = [name for name in found["files"] if isinstance(name, str)]
    exports = found.get("exports")
    entries = exports.items() if isinstance(exports, dict) else ()
    known = {name: entry for name, entry in entries if isinstance(entry, dict) and isinstance(entry.get("files"), dict)}
    return {"study": found["study"], "files": files, "exports": known}


def require_folder(folder: Path) -> None:
    """Make the folder where it is not there.

    Raises:
        ExportError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"out={folder}: cannot be written ({error.strerror}); choose another folder") from None
