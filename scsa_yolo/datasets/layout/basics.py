"""What layout and native formats both speak of: a box, a file that cannot be read, and a
conversion's report.
"""

from __future__ import annotations

# What a converter leaves in the folder of the set that it made, beside images, labels and side.
CONVERSION = "conversion.json"

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


class DataSetError(ValueError):
    """A data set that cannot be used as it is; the message is one line that says why and what to
    do.
    """
