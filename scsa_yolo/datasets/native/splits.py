"""What the names of folders and files say: their split, and whether pictures or masks lie there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

ROLES = ("train", "val", "test")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "valset": "val",
    "minival": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
}
# words that tell two folders of one set apart in nothing: what lies there, and file formats
_PLAIN = _set(
    "anno annos annot annots ann annotation annotations bbox bboxes box boxes coco color colour"
    " data dataset datasets detection dev devkit file files frame frames gt image images img imgs"
    " input inputs instances jpeg jpegimages jpegs jpg json label labels list lists main object"
    " objects pascal photo photos pic pics picture pictures png raw rgb set sets split splits truth"
    " voc xml xmls"
)
_PICTURES = _set(
    "color colour frame frames image images img imgs jpeg jpegimages jpegs jpg photo photos pic"
    " pics picture pictures rgb"
)
_MASKS = _set(
    "depth heatmap heatmaps instance mask masks overlay overlays panoptic preview previews"
    " saliency seg segmentation segmentationclass segmentationobject segmentations semantic thumb"
    " thumbnail thumbnails thumbs trimap trimaps visualization visualizations"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_YEAR = re.compile(r"(?:19|20)\d\d")


class Place(NamedTuple):
    """What a folder's path says.

    Attributes:
        own: What tells this folder from others of the set; words such as "images" do not.
        split: train, val, test, or None.
        masks: Whether masks lie there and not photographs.
        pictures: Whether the innermost telling name is a word for photographs.
    """

    own: tuple[str, ...]
    split: str | None
    masks: bool
    pictures: bool


def words(name: str) -> list[str]:
    """Split a name at blanks, signs, digits and humps, in lower case."""
    return [token.lower() for token in _TOKEN.findall(_CAMEL.sub(" ", name))]


@lru_cache(maxsize=1 << 16)
def place(parts: tuple[str, ...]) -> Place:
    """Read a folder's path below the source."""
    own, split = [], None
    masks = pictures = decided = False
    for part in reversed(parts):
        tokens = words(part)
        rest = [token for token in tokens if not _is_plain(token)]
        if rest:
            own.append(" ".join(rest))
        split = split or split_named([part])
        if not decided and tokens:
            pictures = any(token in _PICTURES for token in tokens)
            masks = _holds_masks(tokens)
            pictures, decided = pictures and not masks, pictures or masks
    return Place(tuple(reversed(own)), split, masks, pictures)


def _is_plain(token: str) -> bool:
    return token in _PLAIN or token in _SPLIT_WORDS or bool(_YEAR.fullmatch(token))


def _holds_masks(tokens: list[str]) -> bool:
    known = all(token in _MASKS or token == "class" or _is_plain(token) for token in tokens)
    return known and any(token in _MASKS for token in tokens)


def split_named(parts: Iterable[str]) -> str | None:
    """Return the split that a folder's name, the innermost first, stands for: train, val or test.

    A name such as ``train_images`` or ``val2017`` counts, ``train_station`` does not.
    """
    for part in parts:
        tokens = words(part)
        found = {_SPLIT_WORDS[token] for token in tokens if token in _SPLIT_WORDS}
        if len(found) == 1 and all(map(_is_plain, tokens)):
            return found.pop()
    return None


def split_word(name: str) -> str | None:
    """Return the split whose word stands anywhere in a file's name, the last one if there are
    several.
    """
    found = [_SPLIT_WORDS[token] for token in words(name) if token in _SPLIT_WORDS]
    return found[-1] if found else None


def role_of(split: str) -> str | None:
    """Return what a split is for: train, val, test, or None where its name does not say."""
    return next((role for role in ROLES if split.startswith(role)), None) or split_word(split)


def split_rank(split: str) -> tuple[int, str]:
    """Order splits as one names them: train, val, test, then others."""
    role = role_of(split)
    return (ROLES.index(role) if role else len(ROLES)), split


def agree(one: Place, other: Place) -> bool | None:
    """Whether two folders are of the same part of a set; None where only one of them says which.

    ``a_b`` and ``images/a`` are two parts; ``Annotations`` may belong to ``images/a``.
    """
    if one.split and other.split and one.split != other.split:
        return False
    if one.own == other.own:
        return True
    short, long = sorted((one.own, other.own), key=len)
    if not short or long[-len(short) :] == short or long[: len(short)] == short:
        return None
    return False
