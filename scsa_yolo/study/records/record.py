"""The record of a run: one JSON file, written at once, with a hash that shows damage.

Besides the keys of `KEYS` a record holds nothing. Scores are shares of 1, times seconds, memory MB
(10^6 bytes). ``seconds`` and ``cpu_seconds`` are those of training, over all attempts; what a
killed attempt did after its last finished epoch is not in them. ``resumed`` lists the epochs after
which an interrupted run went on: from there its random numbers are others than those of a run in
one piece. ``gflops`` and ``latency_ms`` are at the training's picture size, GFLOPs before fusing,
latency after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scsa_yolo.support.files import canonical, write_json

__all__ = ["KEYS", "RecordError", "blank", "load_all", "read", "record_path", "write"]

SCHEMA = 1
STATUSES = ("done", "failed")
KEYS = (
    "schema",
    "study",
    "plan_hash",
    "id",
    "model",
    "data",
    "arm",
    "seed",
    "repeat",
    "status",
    "error",
    "attempts",
    "resumed",
    "started",
    "seconds",
    "cpu_seconds",
    "total_seconds",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
    "versions",
    "code",
    "hardware",
    "data_fingerprint",
    "arguments",
    "weights",
    "attention",
    "parameters",
    "gflops",
    "latency_ms",
    "epochs",
    "final",
    "by_condition",
    "hash",
)


class RecordError(ValueError):
    """A record that cannot be used; the message names the file and what to type."""


def blank(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of a job's run with all keys, and null where nothing is known yet."""
    return {
        **dict.fromkeys(KEYS),
        "schema": SCHEMA,
        "study": job["plan"]["name"],
        "plan_hash": job["plan_hash"],
        **{key: job["run"][key] for key in ("id", "model", "data", "arm", "seed", "repeat")},
        "attempts": 1,
        "resumed": [],
        "code": job.get("code"),
        "data_fingerprint": job.get("data_fingerprint"),
        "epochs": [],
        "final": {},
        "by_condition": {},
    }


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with the hash of everything else in it."""
    content = {key: record[key] for key in KEYS if key != "hash"}
    return {**content, "hash": f"sha256:{hashlib.sha256(canonical(content).encode()).hexdigest()}"}


def record_path(folder: Path, run_id: str) -> Path:
    """Return where a run's record lies."""
    return folder / "records" / f"{run_id}.json"


def write(folder: Path, record: Mapping[str, Any]) -> Path:
    """Seal a record and write it at once: never half of it.

    Raises:
        OSError: It cannot be written; an earlier record is as it was.
    """
    path = record_path(folder, record["id"])
    write_json(path, sealed(record), indent=1)
    return path


def read(path: Path, plan_hash: str | None = None) -> dict[str, Any]:
    """Read one record.

    Args:
        path: Its file.
        plan_hash: Of the plan that it must belong to; None takes any.

    Raises:
        RecordError: It is damaged, of another plan, or of a newer version.
    """
    away = f"Type: mv '{path}' '{path}.damaged', and its run is done again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RecordError(f"{path}: the record is damaged ({error}). {away}") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise RecordError(f"{path}: this is no record of a study. {away}")
    if content["schema"] != SCHEMA:
        raise RecordError(
            f"{path}: a record of form {content['schema']}, and this version reads form {SCHEMA}"
        )
    wrong = sorted({*KEYS} ^ {*content})
    if wrong or content["status"] not in STATUSES or content["hash"] != sealed(content)["hash"]:
        what = f"keys {', '.join(wrong)}" if wrong else "its hash does not fit its content"
        raise RecordError(f"{path}: the record is damaged or was edited: {what}. {away}")
    if content["id"] != path.stem:
        raise RecordError(f"{path}: the record of {content['id']} under another name. {away}")
    if plan_hash is not None and content["plan_hash"] != plan_hash:
        raise RecordError(
            f"{path}: the record of another plan ({content['plan_hash'][:19]}, this one is"
            f" {plan_hash[:19]}). Choose another --folder, or move it away: mv '{path}' ."
        )
    return content


def load_all(folder: str | Path, plan_hash: str | None = None) -> list[dict[str, Any]]:
    """Read all records of a study's folder, sorted by name.

    Raises:
        RecordError: One is damaged or of another plan.
    """
    return [read(path, plan_hash) for path in sorted((Path(folder) / "records").glob("*.json"))]
