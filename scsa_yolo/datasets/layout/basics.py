"""What layout and native formats both speak of: a box, and a file that cannot be read."""

from __future__ import annotations

XYXY = tuple[float, float, float, float]  # left, top, right and bottom edge in pixels, from 0


class Unreadable(ValueError):
    """A file is not what its format wants; the message is the reason.

    Args:
        reason: What is wrong with it.
        line: The line where it is wrong, from 1, if one can be named.
    """

    def __init__(self, reason: str, line: int | None = None):
        super().__init__(reason)
        self.line = line
