"""File names: a local file first, then what Ultralytics finds, our packaged files last."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ultralytics.data.utils import check_det_dataset
from ultralytics.nn.tasks import yaml_model_load
from ultralytics.utils import ROOT, checks

from scsa_yolo.host import names
from scsa_yolo.support import packaged as packaged_module

pytestmark = pytest.mark.usefixtures("yolo_home", "unsaid")


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was said once."""
    monkeypatch.setattr(names, "_said", set())


def packaged(name: str) -> str:
    return str(names.packaged_files()[name])


@pytest.mark.parametrize(
    "make", [str, Path, lambda name: f"  {name} "], ids=["str", "Path", "blanks"]
)
def test_a_packaged_name(make: Any) -> None:
    assert checks.check_file(make("yolov8-scsa.yaml")) == packaged("yolov8-scsa.yaml")
    assert checks.check_yaml(make("scsa-demo.yaml")) == packaged("scsa-demo.yaml")


def test_a_data_set_by_its_stem() -> None:
    assert checks.check_file("scsa-demo") == packaged("scsa-demo.yaml")


@pytest.mark.parametrize(
    ("name", "file", "scale"),
    [
        ("yolov8n-scsa.yaml", "yolov8-scsa.yaml", "n"),
        ("yolov8x-seg-scsa.yaml", "yolov8-seg-scsa.yaml", "x"),
        ("yolo11m-scsa.yaml", "yolo11-scsa.yaml", "m"),
        ("yolov9t-scsa.yaml", "yolov9t-scsa.yaml", ""),
        ("yolov10n-scsa.yaml", "yolov10n-scsa.yaml", "n"),
        ("rtdetr-r18-scsa.yaml", "rtdetr-r18-scsa.yaml", ""),
    ],
)
def test_a_model_by_its_size(name: str, file: str, scale: str) -> None:
    import yaml

    d = yaml_model_load(name)
    assert d["scale"] == scale
    assert d["backbone"] == yaml.safe_load(Path(packaged(file)).read_text())["backbone"]


def test_a_local_file_wins_and_that_is_said_once(yolo_log: Any) -> None:
    local = Path("yolov8-scsa.yaml")
    shutil.copy(packaged("yolov8-scsa.yaml"), local)
    local.write_text(local.read_text().replace("nc: 80", "nc: 7"))
    for _ in range(2):
        assert yaml_model_load("yolov8n-scsa.yaml")["nc"] == 7
    assert checks.check_file("yolov8-scsa.yaml") == "yolov8-scsa.yaml"
    said = yolo_log.matching("not the packaged yolov8-scsa.yaml")
    assert len(said) == 1
    assert str(local.resolve()) in said[0]


def test_a_local_folder_wins_over_a_stem(yolo_log: Any) -> None:
    Path("scsa-demo").mkdir()
    assert checks.check_file("scsa-demo") == "scsa-demo"
    assert len(yolo_log.matching("not the packaged scsa-demo")) == 1


def test_nothing_is_said_of_the_packaged_file_itself(
    monkeypatch: pytest.MonkeyPatch, yolo_log: Any
) -> None:
    monkeypatch.chdir(Path(packaged("yolov8-scsa.yaml")).parent)
    assert checks.check_file("yolov8-scsa.yaml") == "yolov8-scsa.yaml"
    assert not yolo_log.matching("packaged")


@pytest.mark.parametrize(
    "name", ["yolov8.yaml", "coco8.yaml", "botsort.yaml", "rtdetr-resnet50.yaml"]
)
def test_stock_names_are_untouched(name: str) -> None:
    assert Path(checks.check_file(name)).is_relative_to(ROOT)


def test_no_packaged_name_is_a_stock_name() -> None:
    stock = {path.name for path in ROOT.rglob("*.yaml")}
    assert len(stock) > 100
    assert not stock & names.packaged_files().keys()
    assert (
        not {path.stem for path in ROOT.glob("cfg/datasets/*.yaml")} & names.packaged_files().keys()
    )


def test_every_packaged_yaml_has_a_name_of_its_own() -> None:
    files = [
        *packaged_module.packaged_folder("models").rglob("*.yaml"),
        *packaged_module.packaged_folder("data").glob("*.yaml"),
    ]
    assert len({file.name for file in files}) == len(files)
    assert all(names.packaged_files()[file.name] == file for file in files)


def test_an_unknown_name_gives_stocks_own_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"'yolov8-scsaa\.yaml' does not exist"):
        checks.check_file("yolov8-scsaa.yaml")


def test_unknown_and_soft() -> None:
    assert checks.check_file("yolov8-scsaa.yaml", hard=False) == []
    assert checks.check_file("yolov8-scsa.yaml", hard=False) == packaged("yolov8-scsa.yaml")


def test_a_wrong_suffix_is_still_refused() -> None:
    with pytest.raises(AssertionError, match="suffix"):
        checks.check_file("yolov8-scsa.yaml", suffix=".pt")


def test_a_data_set_without_suffix_reaches_ultralytics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``data=tiny`` names a packaged data set, as ``data=coco8`` names a stock one."""
    yaml = tmp_path / "tiny.yaml"
    (tmp_path / "images").mkdir()
    yaml.write_text(f"path: {tmp_path}\ntrain: images\nval: images\nnames: [a]\n")
    monkeypatch.setattr(names, "packaged_files", lambda: {"tiny": yaml, "tiny.yaml": yaml})
    assert check_det_dataset("tiny")["names"] == {0: "a"}


def test_a_strangers_folder_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed without ``models`` inside (a broken wheel), site-packages/models is somebody
    else's.
    """
    (tmp_path / "models").mkdir()
    (tmp_path / "scsa_yolo").mkdir()
    monkeypatch.setattr(packaged_module, "_PACKAGE", tmp_path / "scsa_yolo")
    assert packaged_module.packaged_folder("models") == tmp_path / "scsa_yolo" / "models"


def test_names_that_cannot_be_listed_keep_nobody_from_stock_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError("made to fail")

    monkeypatch.setattr(names, "packaged_files", fail)
    with pytest.warns(RuntimeWarning, match="names of its own files are unknown.*made to fail"):
        assert Path(checks.check_file("coco8.yaml")).is_relative_to(ROOT)


def test_a_packaged_file_that_is_gone_keeps_nobody_from_a_local_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, yolo_log: Any
) -> None:
    monkeypatch.setattr(names, "packaged_files", lambda: {"mine.yaml": tmp_path / "gone.yaml"})
    Path("mine.yaml").write_text("nc: 1\n")
    assert checks.check_file("mine.yaml") == "mine.yaml"
    assert len(yolo_log.matching("not the packaged mine.yaml")) == 1
