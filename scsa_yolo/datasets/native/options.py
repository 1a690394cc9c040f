"""What a conversion can be asked for, and what the owners of a data set say is in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from scsa_yolo.datasets.native.records import UsageError

IMAGES = ("link", "copy", "hardlink")
DIFFICULT = ("ignore", "keep")
PIXELS = ("inclusive", "edges")
SPECTRUM = ("thermal", "rgb")
SIZES = ("auto", "stated", "file")


class Official(NamedTuple):
    """Counts of a split as its owners, or who counted the native files, state them; None where
    nobody does.
    """

    images: int | None = None
    boxes: int | None = None
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Options:
    """Everything that changes what is written. Each is described in the help of ``scsa-yolo data
    convert``.
    """

    images: str = "link"
    paint_ignored: bool = False
    classes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    difficult: str = "ignore"
    pixels: str = "inclusive"
    spectrum: str = "thermal"
    annotations: tuple[str, ...] = ()
    val_share: float | None = None
    seed: int = 0
    sizes: str = "auto"

    def check(self, name: str, understood: frozenset[str]) -> None:
        """Refuse a wrong value, or an option that the data set has no use for.

        Raises:
            UsageError: The message names the allowed values.
        """
        allowed = {"images": IMAGES, "difficult": DIFFICULT, "pixels": PIXELS, "spectrum": SPECTRUM}
        allowed["sizes"] = SIZES
        for option, values in allowed.items():
            if getattr(self, option) not in values:
                raise UsageError(
                    f"{option} must be one of {', '.join(values)}, got {getattr(self, option)!r}"
                )
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise UsageError(f"val-share must lie between 0 and 1, got {self.val_share}")
        for option in ("classes", "ignore"):
            names = getattr(self, option)
            twice = sorted({entry for entry in names if names.count(entry) > 1 or not entry})
            if twice:
                raise UsageError(f"{option} holds {twice[0]!r} twice, or an empty name")
        both = sorted(set(self.classes) & set(self.ignore))
        if both:
            raise UsageError(f"{both[0]!r} is both in classes and in ignore")
        for field in fields(self):
            if (
                field.name not in {"images", "paint_ignored", *understood}
                and getattr(self, field.name) != field.default
            ):
                takes = (
                    ", ".join(sorted(option.replace("_", "-") for option in understood))
                    or "no option of its own"
                )
                raise UsageError(
                    f"{name} has no use for --{field.name.replace('_', '-')}; it takes {takes}"
                )

    def as_json(self) -> dict[str, Any]:
        """Return the options as they are kept in DEST/conversion.json."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }
