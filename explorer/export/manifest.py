"""`export.json`: what exports wrote into a folder, with hashes, how each file was verified and how it is loaded."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from explorer.export.errors import ExportError
from explorer.export.subject import Subject, sha256_of
from explorer.export.target import Target
from explorer.export.write import Written
from explorer.whole import replacing

NAME = "export.json"
FORMAT = "vitscape/export@1"


class Manifest:
    """The list of a folder's exports; several processes may write into one folder."""

    def __init__(self, folder: Path, study: str | None, *, front: bool) -> None:
        self.path = folder / NAME
        self.study = study
        self.front = front  # whether what is written is the study's front

    def require(self, subjects: Sequence[Subject], targets: Mapping[str, Target]) -> None:
        """Nothing where no file of another export would be written over.

        Raises:
            ExportError: one would; one line.
        """
        owners = {file: name for name, entry in self._read().items() for file in entry["files"]}
        for subject in subjects:
            names = {target.path(self.path.parent, subject).name for target in targets.values()}
            for file in sorted(names | {subject.weights_file}):
                if (owner := owners.setdefault(file, subject.name)) != subject.name:
                    raise ExportError(
                        f"{self.path.parent / file}: is {owner}'s; choose another --out for {subject.name}"
                    )

    def add(self, subject: Subject, targets: Mapping[str, Target], one: Written) -> None:
        """Note a file that is in its place now."""
        with self.exclusive():
            entries = self._read()
            before = entries.get(subject.name)
            kept = before["files"] if before is not None and before["id"] == subject.architecture.id else {}
            file = _file(one, subject, targets) | {"front": self.front}
            entries[subject.name] = {
                "study": self.study,
                **subject.origin,
                "id": subject.architecture.id,
                "description": subject.architecture.description,
                "architecture": subject.architecture.canonical.to_dict(),
                "files": kept | {one.path.name: file},
            }
            self._write(entries)

    def tell(self, subject: Subject, file: str, latencies: list[dict[str, Any]]) -> None:
        """Note what a file's latencies are, one a batch size."""
        with self.exclusive():
            entries = self._read()
            entries[subject.name]["files"][file]["latencies"] = latencies
            self._write(entries)

    def leave(self, members: Sequence[Subject]) -> list[Path]:
        """The files removed of architectures that left the study's front since it was last written here.

        Only what such an export wrote, and only as it wrote it; trained weights stay.
        """
        names, removed = {subject.name for subject in members}, []
        with self.exclusive():
            entries = self._read()
            for name, entry in list(entries.items()):
                if entry["study"] != self.study or name in names:
                    continue
                for file, told in list(entry["files"].items()):
                    path = self.path.with_name(file)
                    if told.get("front") is True and told.get("target") != "weights" and _as_written(path, told):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                        removed.append(path)
                        del entry["files"][file]
                if not entry["files"]:
                    del entries[name]
            self._write(entries)
        return removed

    def exclusive(self) -> AbstractContextManager[object]:
        """Held while the list is read and written anew."""
        from explorer.profile.lease import exclusive

        return exclusive("export-" + hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:16])

    def _read(self) -> dict[str, Any]:
        """The entries by name, as far as they are to be believed: a manifest may come from anywhere."""
        if not self.path.exists():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            found = None
        if not (isinstance(found, dict) and found.get("format") == FORMAT and isinstance(found.get("exports"), dict)):
            raise ExportError(
                f"{self.path}: not the list that an export writes there; move it, or choose another --out"
            )
        return {name: entry for name, entry in found["exports"].items() if _sound(entry)}

    def _write(self, entries: dict[str, Any]) -> None:
        """Write it, whole or not at all."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "files": [file for entry in entries.values() for file in entry["files"]],
        }
        data |= {"written": datetime.now(timezone.utc).isoformat(timespec="seconds"), "exports": entries}
        with replacing(self.path) as part:
            part.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sound(entry: object) -> bool:
    """Whether an entry is one, and its files lie in the manifest's own folder."""
    if not (isinstance(entry, dict) and isinstance(entry.get("files"), dict) and {"study", "id"} <= entry.keys()):
        return False
    return all(isinstance(told, dict) and _plain(name) for name, told in entry["files"].items())


def _plain(name: str) -> bool:
    return name == Path(name).name and name not in ("", ".", "..") and "\0" not in name and len(name) < 256


def _as_written(path: Path, told: Mapping[str, Any]) -> bool:
    """Whether a file, or all of a folder, still is what the manifest says."""
    if path.is_symlink():
        return False
    if path.is_dir():
        inside = {one.name: sha256_of(one) for one in path.iterdir() if one.is_file()}
        return inside == told.get("sha256") and len(inside) == len(list(path.iterdir()))
    return path.is_file() and sha256_of(path) == told.get("sha256")


def _file(one: Written, subject: Subject, targets: Mapping[str, Target]) -> dict[str, Any]:
    told: dict[str, Any] = {"target": one.target, **dict(one.told)}
    if one.path.is_dir():
        inside = sorted(path for path in one.path.iterdir() if path.is_file())
        told |= {"bytes": sum(path.stat().st_size for path in inside), "sha256": {p.name: sha256_of(p) for p in inside}}
    else:
        told |= {"bytes": one.path.stat().st_size, "sha256": sha256_of(one.path)}
    told["weights"] = _weights(subject)
    if one.target in targets:
        told["load"] = targets[one.target].code(subject, weights=subject.weights is not None)
    if one.target in ("yaml", "json"):
        told["train"] = f"vitscape train {shlex.quote(f'./{one.path.name}')} --data SOURCE:/path --epochs 300"
    if one.agreement is not None:
        found = one.agreement
        told["verified"] = {
            "logits_differ_by": found.difference,
            "largest_logit": found.scale,
            "tolerance": found.tolerance,
            **({} if found.rounding is None else {"float32_differs_from_float64_by": found.rounding}),
            "batches": list(found.batches),
            "versions": found.versions,
        }
    return told | {"written_by": {"vitscape": version("vitscape"), "python": platform.python_version()}}


def _weights(subject: Subject) -> dict[str, Any]:
    if subject.weights is None:
        return {"trained": False, "remark": "random; where a file holds weights, it is good for timing alone"}
    return {"trained": True, "file": str(subject.weights), "sha256": subject.weights_sha256}


def require_folder(folder: Path) -> None:
    """Make the folder where it is not there.

    Raises:
        ExportError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"out={folder}: cannot be written ({error.strerror}); choose another folder") from None
