"""How a night scene of the demo set is drawn, with its labels.

The world is a straight street seen by a pinhole camera. Objects are lists of flat polygons in
metres, painted far to near on canvases at twice the final size. One canvas remembers which object
owns each pixel, so a label is exactly what is left to see of its object.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_VEHICLE, _PERSON, _LIGHT = range(3)
_SUPERSAMPLE = 2  # OpenCV smooths the edges of 8-bit canvases only, and ours are float
_MIN_SHOWN = 0.3  # of an object's area; below it the label is dropped
_MIN_SIDE = 4.0  # px of the final image; the same
_ROAD = 6.0  # m from the middle line to the kerb

Array = NDArray[Any]
Colour = tuple[float, ...]  # blue, green, red; 1 is white
_BLACK, _STEEL = (0.025, 0.025, 0.025), (0.13, 0.13, 0.13)
_WHITE_LAMP, _RED_LAMP = (0.85, 0.95, 1.0), (0.08, 0.1, 1.0)


class _Part(NamedTuple):
    """A flat polygon: (N, 2) points in metres (right, up) from the object's foot, its colour, the
    light it gives.
    """

    points: Array
    colour: Colour
    glow: float = 0.0


class _Thing(NamedTuple):
    """Something upright, `x` metres right of the middle line and `z` metres away. What has no label
    has no `kind`.
    """

    kind: int | None
    x: float
    z: float
    parts: list[_Part]


class _Camera(NamedTuple):
    """A pinhole camera; px are those of the canvas."""

    focal: float  # px
    horizon: float  # px from the top
    centre: float  # px from the left
    x: float  # m right of the middle line
    height: float  # m

    def ground(self, x: float, z: float) -> tuple[float, float]:
        """Where on the canvas (px right, px down) a point of the ground is seen."""
        return (
            self.centre + self.focal * (x - self.x) / z,
            self.horizon + self.focal * self.height / z,
        )


def _times(colour: Colour, factor: float) -> Colour:
    return tuple(float(factor * channel) for channel in colour)


class _Canvas:
    """(S, S, 3) colour and glow, and (S, S) owner: 0 is the background, else 1 + the index of a
    labelled object.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.colour: Array = np.zeros((size, size, 3), np.float32)
        self.glow: Array = np.zeros((size, size, 3), np.float32)
        self.owner: Array = np.zeros((size, size), np.uint8)
        self.objects: list[
            tuple[int, float]
        ] = []  # class, and px it would cover uncut and with nothing before it

    def fill(self, points: Any, colour: Colour, glow: float = 0.0, owner: int = 0) -> None:
        """Paint a polygon of (N, 2) px. What lay behind is gone from all canvases, its glow too."""
        polygon = [np.round(np.asarray(points)).astype(np.int32)]
        cv2.fillPoly(self.colour, polygon, colour)
        cv2.fillPoly(self.glow, polygon, _times(colour, glow))
        cv2.fillPoly(self.owner, polygon, (owner,))

    def stand(self, thing: _Thing, camera: _Camera) -> None:
        """Paint an upright thing, dimmer with its distance unless it shines itself."""
        foot, scale = np.array(camera.ground(thing.x, thing.z)), camera.focal / thing.z
        polygons = [foot + part.points * (scale, -scale) for part in thing.parts]
        owner = 0 if thing.kind is None else len(self.objects) + 1
        dim = 1.0 - min(thing.z, 60.0) / 120.0
        for part, polygon in zip(thing.parts, polygons, strict=True):
            self.fill(
                polygon, part.colour if part.glow else _times(part.colour, dim), part.glow, owner
            )
        if thing.kind is not None:
            corners = np.concatenate(polygons)
            low, high = corners.min(0), corners.max(0)
            cut = np.maximum(np.minimum(high, self.size) - np.maximum(low, 0), 0)
            share = max(
                cut.prod() / max((high - low).prod(), 1.0), 1e-6
            )  # of it that the borders leave
            self.objects.append((thing.kind, np.count_nonzero(self.owner == owner) / share))

    def labels(self) -> list[tuple[int, float, float, float, float]]:
        """(class, x, y, width, height) of what is visible: box centre and sides as shares of the
        image.
        """
        rows = []
        for index, (kind, area) in enumerate(self.objects):
            y, x = np.nonzero(self.owner == index + 1)
            if len(x) < max(_MIN_SHOWN * area, 1):
                continue
            left, top, right, bottom = (
                int(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1)
            )
            if min(right - left, bottom - top) >= _MIN_SIDE * _SUPERSAMPLE:
                box = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
                rows.append(
                    (
                        kind,
                        box[0] / self.size,
                        box[1] / self.size,
                        box[2] / self.size,
                        box[3] / self.size,
                    )
                )
        return rows


def _paint(rng: Generator, low: float, high: float, tint: float = 0.25) -> Colour:
    """A random colour of brightness low..high; `tint` is how far apart the channels may lie."""
    return tuple(float(c) for c in rng.uniform(low, high) * rng.uniform(1 - tint, 1 + tint, 3))


def _trapezium(y: float, height: float, bottom: float, top: float, x: float = 0.0) -> Array:
    """Upright at (x, y); `bottom` and `top` are widths."""
    return np.array(
        [
            (x - bottom / 2, y),
            (x + bottom / 2, y),
            (x + top / 2, y + height),
            (x - top / 2, y + height),
        ]
    )


def _disc(x: float, y: float, rx: float, ry: float | None = None) -> Array:
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    return np.stack(
        [x + rx * np.cos(angle), y + (rx if ry is None else ry) * np.sin(angle)], axis=1
    )


def _limb(start: tuple[float, float], end: tuple[float, float], width: float) -> Array:
    a, b = np.array(start), np.array(end)
    side = np.array([a[1] - b[1], b[0] - a[0]]) * width / 2 / np.linalg.norm(b - a)
    return np.stack([a - side, a + side, b + side, b - side])


def _vehicle_end(rng: Generator, front: bool) -> list[_Part]:
    """A car, a van or a bus from the front (white lamps) or from behind (red ones)."""
    shapes = ((1.8, 1.5, 0.66), (2.0, 2.1, 0.86), (2.5, 3.0, 0.96))
    wide, high, taper = shapes[int(rng.choice(3, p=[0.65, 0.2, 0.15]))]
    body, belt = _paint(rng, 0.16, 0.5), 0.55 * high
    glass = _paint(rng, 0.3, 0.5) if high > 2.5 else _paint(rng, 0.03, 0.09)  # a bus is lit inside
    lamp, size, strength = (
        (_WHITE_LAMP, (0.17, 0.13), 1.0) if front else (_RED_LAMP, (0.16, 0.1), 0.7)
    )
    strength *= float(rng.uniform(0.7, 1.3))
    return [
        *(
            _Part(_trapezium(0, 0.35, 0.24, 0.24, side * 0.37 * wide), _BLACK) for side in (-1, 1)
        ),  # tyres
        _Part(_trapezium(0.18, belt - 0.18, 0.94 * wide, wide), body),
        _Part(_trapezium(belt, high - belt, 0.94 * wide, taper * wide), _times(body, 0.85)),
        _Part(
            _trapezium(belt + 0.03, 0.75 * (high - belt), 0.82 * wide, (taper - 0.08) * wide), glass
        ),
        _Part(_trapezium(0.24, 0.16, 0.8 * wide, 0.8 * wide), _BLACK),  # bumper
        _Part(_trapezium(0.42, 0.12, 0.45, 0.45), (0.5, 0.55, 0.55)),  # number plate
        *(
            _Part(_disc(side * 0.38 * wide, 0.42 * min(high, 2.0), *size), lamp, strength)
            for side in (-1, 1)
        ),
    ]


def _vehicle_side(rng: Generator) -> list[_Part]:
    """A car or a van from the side, driving right or, mirrored, left."""
    if rng.random() < 0.7:
        body = [
            (-2.1, 0.3),
            (2.1, 0.3),
            (2.1, 0.75),
            (1.25, 0.9),
            (0.6, 1.45),
            (-1.1, 1.45),
            (-1.8, 0.95),
            (-2.1, 0.9),
        ]
        pane = [(1.0, 0.93), (0.52, 1.35), (-1.0, 1.35), (-1.5, 0.95)]
    else:
        body = [(-2.4, 0.3), (2.4, 0.3), (2.4, 1.0), (1.7, 2.1), (-2.4, 2.1)]
        pane = [(1.95, 1.2), (1.5, 1.9), (0.7, 1.9), (0.7, 1.2)]
    nose = body[1][0]
    parts = [
        _Part(np.array(body), _paint(rng, 0.2, 0.55)),
        _Part(np.array(pane), _paint(rng, 0.03, 0.1)),
    ]
    for x in (-0.62 * nose, 0.62 * nose):
        parts += [_Part(_disc(x, 0.33, 0.33), _BLACK), _Part(_disc(x, 0.33, 0.17), (0.3, 0.3, 0.3))]
    parts.append(_Part(_disc(0.08 - nose, 0.75, 0.08, 0.14), _RED_LAMP, 0.6))
    parts.append(_Part(_disc(nose - 0.12, 0.65, 0.12, 0.1), _WHITE_LAMP, 1.0))
    mirror = int(rng.choice([-1, 1]))
    return [part._replace(points=part.points * (mirror, 1)) for part in parts]


def _person(rng: Generator) -> list[_Part]:
    """Legs, arms, torso and head of somebody 1.6 to 1.9 m tall, walking or standing."""
    tall, stride, bulk = rng.uniform(1.6, 1.9), rng.uniform(-0.28, 0.28), rng.uniform(0.42, 0.54)
    coat, trousers, skin = (
        _paint(rng, 0.2, 0.55, 0.4),
        _paint(rng, 0.1, 0.3),
        rng.uniform(0.25, 0.55),
    )
    hip, shoulder = 0.48 * tall, 0.82 * tall
    parts = []
    for side in (-1, 1):
        knee, foot = (side * (0.09 + 0.45 * stride), 0.25 * tall), (side * (0.1 + stride), 0.03)
        hand = (side * (bulk / 2 + 0.06) - 0.32 * stride, hip - 0.05)
        parts += [
            _Part(_limb((side * 0.09, hip), knee, 0.19), trousers),
            _Part(_limb(knee, foot, 0.15), trousers),
        ]
        parts.append(
            _Part(_limb((side * 0.42 * bulk, shoulder - 0.04), hand, 0.13), _times(coat, 0.8))
        )
    parts.append(_Part(_trapezium(hip - 0.06, shoulder - hip + 0.06, 0.36, bulk), coat))
    if rng.random() < 0.25:
        parts.append(
            _Part(_trapezium(0.62 * tall, 0.09, 0.9 * bulk, 0.9 * bulk), (0.4, 0.85, 0.75))
        )  # reflector
    parts.append(
        _Part(_disc(0, 0.915 * tall, 0.115, 0.085 * tall), _times((0.55, 0.75, 1.0), skin))
    )
    return [*parts, _Part(_disc(0, 0.95 * tall, 0.115, 0.05 * tall), (0.05, 0.06, 0.08))]  # hair


def _street_lamp(rng: Generator, side: int) -> tuple[list[_Part], list[_Part]]:
    """Mast, without a label, and `light` of a street lamp whose arm reaches over the road."""
    high, arm = rng.uniform(4.2, 5.5), -side * rng.uniform(0.7, 1.3)
    tone: Colour = (0.55, 0.85, 1.0) if rng.random() < 0.6 else (1.0, 0.97, 0.9)  # sodium or LED
    mast = [
        _Part(_limb((0, 0), (0, high), 0.14), _STEEL),
        _Part(_limb((0, high), (arm, high + 0.15), 0.1), _STEEL),
    ]
    return mast, [_Part(_disc(arm, high, 0.42, 0.33), tone, float(rng.uniform(0.8, 1.2)))]


def _signal(rng: Generator) -> tuple[list[_Part], list[_Part]]:
    """Mast, without a label, and housing (`light`) of a traffic light with one lamp of three
    lit.
    """
    low, lit = rng.uniform(2.4, 3.2), int(rng.choice(3, p=[0.45, 0.15, 0.4]))
    head = [_Part(_trapezium(low, 1.5, 0.62, 0.62), (0.16, 0.17, 0.16))]
    head.append(_Part(_trapezium(low + 0.06, 1.38, 0.5, 0.5), _BLACK))
    for i, tone in enumerate([(0.1, 0.15, 1.0), (0.15, 0.75, 1.0), (0.55, 1.0, 0.2)]):
        shade, glow = (1.0, 1.1) if i == lit else (0.1, 0.0)
        head.append(_Part(_disc(0, low + 1.23 - 0.47 * i, 0.19), _times(tone, shade), glow))
    return [_Part(_limb((0, 0), (0, low), 0.12), _STEEL)], head


def _distance(rng: Generator, near: float, far: float) -> float:
    """Log-uniform, which spreads sizes in px evenly over the octaves."""
    return float(np.exp(rng.uniform(np.log(near), np.log(far))))


def _vehicles(rng: Generator) -> list[_Thing]:
    """Some in their lanes, oncoming ones on the left, and at times one that crosses."""
    things: list[_Thing] = []
    for _ in range(int(rng.integers(2, 6))):
        lane, z = float(rng.choice([-4.5, -1.5, 1.5, 4.5])), _distance(rng, 6.5, 36)
        if all(
            abs(z - other.z) > 5 or other.x != lane for other in things
        ):  # no car inside another
            things.append(_Thing(_VEHICLE, lane, z, _vehicle_end(rng, front=lane < 0)))
    if rng.random() < 0.4:
        things.append(
            _Thing(_VEHICLE, float(rng.uniform(-7, 7)), _distance(rng, 9, 26), _vehicle_side(rng))
        )
    return things


def _people(rng: Generator) -> list[_Thing]:
    """Some on the road, some on the pavements, which come into view further away."""
    things = []
    for _ in range(int(rng.integers(3, 7))):
        if rng.random() < 0.4:
            x, z = rng.uniform(-_ROAD, _ROAD), _distance(rng, 6, 22)
        else:
            x, z = (
                rng.choice([-1, 1]) * rng.uniform(_ROAD + 0.3, _ROAD + 2.0),
                _distance(rng, 10, 24),
            )
        things.append(_Thing(_PERSON, float(x), z, _person(rng)))
    return things


def _lights(rng: Generator) -> list[_Thing]:
    """Street lamps along both kerbs and up to two traffic lights."""
    things = []
    for side in (-1, 1):
        z = rng.uniform(9, 15)
        while z < 28:
            mast, head = _street_lamp(rng, side)
            things += [
                _Thing(kind, side * (_ROAD + 0.7), z, parts)
                for kind, parts in ((None, mast), (_LIGHT, head))
            ]
            z += rng.uniform(8, 14)
        if rng.random() < 0.6:
            (mast, head), z = _signal(rng), _distance(rng, 8, 24)
            things += [
                _Thing(kind, side * (_ROAD + 0.3), z, parts)
                for kind, parts in ((None, mast), (_LIGHT, head))
            ]
    return things


def _draw_houses(canvas: _Canvas, horizon: float, rng: Generator) -> None:
    outline = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    x, step = 0.0, canvas.size / 40
    while x < canvas.size:
        wide, high = rng.uniform((0.08, 0.05), (0.22, 0.3)) * canvas.size
        lit = rng.uniform(0, 0.3)
        canvas.fill(outline * (wide, -high) + (x, horizon), _paint(rng, 0.035, 0.08))
        for left in np.arange(x + step / 2, x + wide - step, step):
            for top in np.arange(horizon - high + step / 2, horizon - step, 1.3 * step):
                if rng.random() < lit:
                    pane = _times((0.5, 0.8, 1.0), rng.uniform(0.12, 0.38))
                    canvas.fill(outline * (0.5 * step, 0.6 * step) + (left, top), pane)
        x += wide * rng.uniform(0.9, 1.3)


def _draw_ground(canvas: _Canvas, camera: _Camera, rng: Generator) -> None:
    canvas.colour[int(camera.horizon) :] = _paint(rng, 0.09, 0.13, 0.1)
    near, far = 1.5, 400.0
    stripes = [
        (0.0, _ROAD, near, far, _paint(rng, 0.06, 0.09, 0.1))
    ]  # middle, half width, from, to: all in m
    paint = _paint(rng, 0.2, 0.35, 0.05)
    stripes += [(x, 0.07, near, far, paint) for x in (0.2 - _ROAD, 0.0, _ROAD - 0.2)]
    stripes += [(x, 0.07, z, z + 3.0, paint) for x in (-3.0, 3.0) for z in np.arange(near, 60, 6.0)]
    for x, half, start, end, colour in stripes:
        corners = ((x - half, start), (x + half, start), (x + half, end), (x - half, end))
        canvas.fill([camera.ground(*corner) for corner in corners], colour)


def _draw_shine(canvas: _Canvas, camera: _Camera, things: list[_Thing]) -> None:
    """Pools of light under street lamps and before oncoming cars, and the dark patch under each
    vehicle.
    """
    pools = np.zeros_like(canvas.colour)
    for thing in things:
        if thing.parts[0].glow or (thing.kind == _VEHICLE and thing.x < 0):
            spot = _disc(
                *camera.ground(thing.x, thing.z),
                2.6 * camera.focal / thing.z,
                0.8 * camera.focal / thing.z,
            )
            cv2.fillPoly(
                pools, [np.round(spot).astype(np.int32)], _times(thing.parts[-1].colour, 0.12)
            )
    pools = cv2.resize(
        pools, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA
    )  # a wide blur is cheap when small
    canvas.colour += cv2.resize(
        cv2.GaussianBlur(pools, (0, 0), canvas.size / 80), (canvas.size, canvas.size)
    )
    for thing in things:
        if thing.kind == _VEHICLE:
            scale, reach = (
                camera.focal / thing.z,
                max(float(np.abs(part.points[:, 0]).max()) for part in thing.parts),
            )
            canvas.fill(
                _disc(*camera.ground(thing.x, thing.z), reach * scale, 0.18 * scale), _BLACK
            )


def _expose(canvas: _Canvas, rng: Generator) -> Array:
    """What a camera would record: glare, some blur, shot and read noise; (S / 2, S / 2, 3) uint8,
    BGR.
    """
    size = canvas.size // _SUPERSAMPLE
    colour = cv2.resize(canvas.colour, (size, size), interpolation=cv2.INTER_AREA)
    glow = cv2.resize(canvas.glow, (size, size), interpolation=cv2.INTER_AREA)
    unit = size / 320
    halo = 0.7 * cv2.GaussianBlur(glow, (0, 0), 2.0 * unit) + 1.2 * cv2.GaussianBlur(
        glow, (0, 0), 8.0 * unit
    )
    image = cv2.GaussianBlur(colour + 0.5 * glow + halo, (0, 0), rng.uniform(0.35, 0.8) * unit)
    across = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    vignette = 1 - 0.18 * (across[:, None] + across[None])
    image = np.clip(image * vignette[..., None] * rng.uniform(0.9, 1.5), 0, 1)
    read, shot = rng.uniform(0.008, 0.02), rng.uniform(0.001, 0.003)
    noise = rng.standard_normal(image.shape, np.float32) * np.sqrt(
        read**2 + shot * image
    )  # photons: variance ~ light
    recorded: Array = (np.clip(image + noise, 0, 1) * 255).round().astype(np.uint8)
    return recorded


def draw_scene(size: int, rng: Generator) -> tuple[Array, str]:
    """One picture, (size, size, 3) uint8 BGR, and the text of its label file."""
    canvas = _Canvas(size * _SUPERSAMPLE)
    camera = _Camera(
        focal=canvas.size * rng.uniform(0.95, 1.3),
        horizon=round(canvas.size * rng.uniform(0.36, 0.48)),
        centre=canvas.size * rng.uniform(0.4, 0.6),
        x=rng.uniform(-3.5, 3.5),
        height=rng.uniform(1.7, 3.6),
    )
    things = _vehicles(rng) + _people(rng) + _lights(rng)
    dusk = (
        np.linspace(0, 2.5, canvas.size, dtype=np.float32)[:, None, None] ** 2
    )  # a town's haze towards the horizon
    canvas.colour[:] = np.array(_paint(rng, 0.03, 0.06)) + dusk * np.array((0.04, 0.05, 0.06))
    _draw_houses(canvas, camera.horizon, rng)
    _draw_ground(canvas, camera, rng)
    _draw_shine(canvas, camera, things)
    for thing in sorted(things, key=lambda thing: -thing.z):
        canvas.stand(thing, camera)
    lines = [f"{kind} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for kind, x, y, w, h in canvas.labels()]
    return _expose(canvas, rng), "".join(lines)
