"""What may be typed after ``scsa-yolo export MODEL``: Ultralytics' own ``key=value`` pairs, checked
before any work.

Keys and their meaning are Ultralytics'. Names that it has retired, such as ``half``, are turned
into the new ones, so that old commands go on working without a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

__all__ = ["ALIASES", "check_formats", "export_keys", "known_formats", "parse_settings"]

# Other names of formats that the exporter takes.
ALIASES = {
    "tensorrt": "engine",
    "trt": "engine",
    "tflite": "litert",
    "mlpackage": "coreml",
    "mlprogram": "coreml",
    "apple": "coreml",
    "ios": "coreml",
}
# Keys that the exporter reads and that its table of formats does not list, or lists under a new
# name only.
_COMMON = (
    "format",
    "imgsz",
    "device",
    "verbose",
    "conf",
    "iou",
    "max_det",
    "agnostic_nms",
    "split",
    "task",
)
_RETIRED = ("half", "int8", "end2end")
_SPOKEN = {"nms", "half", "int8", "end2end"}  # may stand alone, as with yolo: `nms` is `nms=True`


def export_keys() -> list[str]:
    """Return the names of the settings that an export takes, in this version of Ultralytics."""
    from ultralytics.engine.exporter import export_formats
    from ultralytics.utils import DEFAULT_CFG_DICT

    named = {key for keys in export_formats()["Arguments"] for key in keys}
    kept = {key for key in (*named, *_COMMON) if key in DEFAULT_CFG_DICT}
    return sorted(kept | set(_RETIRED))


def known_formats() -> list[str]:
    """Return the formats of Ultralytics' exporter, in its order."""
    from ultralytics.engine.exporter import export_formats

    return [name for name in export_formats()["Argument"] if name != "-"]


def check_formats(names: Iterable[str]) -> tuple[str, ...]:
    """Return formats without repeats, aliases resolved.

    Raises:
        ValueError: One is unknown; the message lists the known ones.
    """
    known = known_formats()
    chosen = [
        ALIASES.get(name.strip().lower(), name.strip().lower()) for name in names if name.strip()
    ]
    for name in chosen:
        if name not in known:
            raise ValueError(
                f"unknown format {name!r}{_near(name, known)}. Known: {', '.join(known)}"
            )
    return tuple(dict.fromkeys(chosen)) or ("onnx",)


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Turn ``key=value`` words into settings of the exporter.

    Raises:
        ValueError: A word has no value, or its key is none of an export's; near names are
            suggested.
    """
    from ultralytics.cfg import smart_value
    from ultralytics.utils import DEFAULT_CFG_DICT

    known, settings = export_keys(), {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip().lstrip("-")
        if key not in known:
            whose = (
                "an argument of yolo, but not of an export"
                if key in DEFAULT_CFG_DICT
                else "no argument"
            )
            raise ValueError(f"{key!r} is {whose}{_near(key, known)}. Known: {', '.join(known)}")
        if not equals and not (isinstance(DEFAULT_CFG_DICT.get(key), bool) or key in _SPOKEN):
            raise ValueError(f"{key!r} needs a value. Type: {key}=VALUE")
        if equals and not value.strip():
            raise ValueError(f"{key}= has no value. Type: {key}=VALUE, or leave it out")
        settings[key] = smart_value(value.strip()) if equals else True
    size = settings.get("imgsz")
    if isinstance(size, tuple):  # as imgsz=480,640 is read
        settings["imgsz"] = list(size)
    return _checked(_renamed(settings))


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Turn retired names into those of this version of Ultralytics, as it would with a warning."""
    from ultralytics.utils import DEFAULT_CFG_DICT

    done = dict(settings)
    int8, half = done.pop("int8", None), done.pop("half", None)
    if (int8 or half) and done.get("quantize") is None:
        done["quantize"] = 8 if int8 else 16
    if "end2end" not in DEFAULT_CFG_DICT and done.pop("end2end", None):
        done["nms"] = False
    return done


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Let Ultralytics check types and ranges."""
    from ultralytics.cfg import get_cfg

    try:
        get_cfg(overrides={"mode": "export", **settings})
    except (TypeError, ValueError, SyntaxError, AssertionError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error
    imgsz = settings.get("imgsz", 32)
    sides = imgsz if isinstance(imgsz, (list, tuple)) else [imgsz]
    if not 1 <= len(sides) <= 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(
            f"imgsz={imgsz} is no size. Type: imgsz=640, or imgsz=480,640 for height and width"
        )
    batch = settings.get("batch", 1)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(
            f"batch={batch} is no batch of an export. Type: batch=1, or a larger whole number"
        )
    return settings


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
