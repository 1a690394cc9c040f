"""One environment for every test: offline, one thread, and settings of Ultralytics that are
nobody's.

The variables are set before torch or Ultralytics is imported anywhere, and child processes inherit
them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# Switches of the host, of torch and of Python that a developer's shell may carry; tests set them
# themselves.
SWITCHES = (
    "SCSA_YOLO_AUTOLOAD",
    "TORCH_DEVICE_BACKEND_AUTOLOAD",
    "ULTRALYTICS_SAFE_LOAD",
    "PYTHONWARNINGS",
)
SETTINGS = tempfile.mkdtemp(prefix="scsa_yolo-tests-")

for _name in SWITCHES:
    os.environ.pop(_name, None)
os.environ.update(
    YOLO_CONFIG_DIR=SETTINGS,
    YOLO_OFFLINE="true",  # no look-up of a name server, no telemetry, no download
    YOLO_AUTOINSTALL="false",  # a missing package is an error, not an installation
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test runs share the cores
os.environ.setdefault(
    "CUDA_VISIBLE_DEVICES", ""
)  # the same tests with and without a GPU, unless it is asked for


hypothesis.settings.register_profile("same", derandomize=True)  # the same examples in every run
hypothesis.settings.load_profile("same")


def pytest_unconfigure() -> None:
    shutil.rmtree(SETTINGS, ignore_errors=True)


@dataclass(frozen=True)
class Done:
    """A finished child process."""

    code: int
    text: str  # stdout and stderr, in the order of their writing

    def lines(self, start: str) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith(start)]


@dataclass(frozen=True)
class Home:
    """A user's empty folder, with settings of Ultralytics of its own, and the commands typed in
    it.
    """

    folder: Path

    def run(
        self, *command: str | Path, ok: bool = True, timeout: int = 300, **env: str | None
    ) -> Done:
        """Run a command in the folder. ``env`` adds to the environment, None removes; ``ok``
        asserts success.
        """
        merged = {**os.environ, "YOLO_CONFIG_DIR": str(self.folder / ".settings"), **env}
        variables = {name: value for name, value in merged.items() if value is not None}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        result = Done(done.returncode, done.stdout)
        assert not ok or result.code == 0, f"exit status {result.code}\n{result.text}"
        return result

    def python(
        self, code: str, *args: str | Path, ok: bool = True, timeout: int = 300, **env: str | None
    ) -> Done:
        """Run code in a fresh interpreter."""
        return self.run(sys.executable, "-c", code, *args, ok=ok, timeout=timeout, **env)

    def yolo(
        self, *args: str | Path, ok: bool = True, timeout: int = 300, **env: str | None
    ) -> Done:
        """Run the stock ``yolo`` command of this interpreter's environment."""
        script = Path(sys.executable).with_name("yolo")
        return self.run(script if script.exists() else "yolo", *args, ok=ok, timeout=timeout, **env)


@pytest.fixture(scope="session")
def make_home() -> Callable[[Path], Home]:
    """Return the maker of a home in a folder, for fixtures that outlive a test."""

    def make(folder: Path) -> Home:
        (folder / ".settings").mkdir(parents=True)
        return Home(folder)

    return make


@pytest.fixture
def yolo_home(
    tmp_path: Path, make_home: Callable[[Path], Home], monkeypatch: pytest.MonkeyPatch
) -> Home:
    """An empty folder of a user, which is also the working folder of this process."""
    home = make_home(tmp_path / "home")
    monkeypatch.chdir(home.folder)
    return home


@pytest.fixture
def run_python(yolo_home: Home) -> Callable[..., Done]:
    """Run code in a fresh interpreter, in an empty folder."""
    return yolo_home.python


@pytest.fixture
def run_yolo(yolo_home: Home) -> Callable[..., Done]:
    """Run the stock ``yolo`` command in an empty folder."""
    return yolo_home.yolo


def draw_data(folder: Path, images: int = 4) -> Path:
    """Draw a data set of 64-pixel pictures, bright squares and dark ones, and return its YAML."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(images):
            picture = rng.integers(100, 140, (64, 64, 3), dtype=np.uint8)
            rows = []
            for kind, shade in enumerate((250, 5)):
                x, y = (int(v) for v in rng.integers(0, 40, 2))
                picture[y : y + 24, x : x + 24] = shade
                rows.append(f"{kind} {(x + 12) / 64} {(y + 12) / 64} {24 / 64} {24 / 64}")
            cv2.imwrite(str(folder / "images" / split / f"{index}.png"), picture)
            (folder / "labels" / split / f"{index}.txt").write_text("\n".join(rows))
    yaml = folder / "tiny.yaml"
    yaml.write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [bright, dark]\n"
    )
    return yaml


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Path]:
    """Return the drawer of the tiny data set, for fixtures that outlive a test."""
    return draw_data


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """The YAML of a data set of a few 64-pixel pictures and two classes."""
    return draw_data(tmp_path / "tiny")


@pytest.fixture
def attention_registry() -> Iterator[None]:
    """Forget the attention modules that a test registers."""
    from scsa_yolo.attention import registry

    before = dict(registry._CLASSES)
    yield
    registry._CLASSES.clear()
    registry._CLASSES.update(before)


@pytest.fixture
def registration() -> Iterator[None]:
    """Put the registration back that a test takes away or breaks."""
    import scsa_yolo

    yield
    scsa_yolo.unregister()
    scsa_yolo.register()


class Log(logging.Handler):
    """What Ultralytics logs."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def matching(self, part: str) -> list[str]:
        return [message for message in self.messages if part in message]


@pytest.fixture
def yolo_log() -> Iterator[Log]:
    """The messages of Ultralytics' logger, which does not propagate to pytest's own capture."""
    from ultralytics.utils import LOGGER

    handler = Log()
    LOGGER.addHandler(handler)
    yield handler
    LOGGER.removeHandler(handler)


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """Skip, with the reason, where an optional package is missing."""

    def skip_without(*packages: str) -> None:
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"needs {', '.join(missing)}: pip install 'scsa-yolo[test]'")

    return skip_without
