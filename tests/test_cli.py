"""The scsa-yolo command, as a person and as a script sees it."""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ultralytics.utils  # noqa: F401  says at its first import that it has made settings
import yaml

import scsa_yolo
from scsa_yolo import cli
from scsa_yolo.commands import doctor
from scsa_yolo.commands.doctor import NOTE, OK, PROBLEM, WARNING
from scsa_yolo.host.registration import wanted_names
from scsa_yolo.modelfiles import catalogue

HEALTHY: dict[str, Any] = {
    "torch": "2.15.0+cu132",
    "cuda_build": "13.2",
    "gpus": [],
    "ultralytics": "8.4.190",
    "where": "/site-packages/ultralytics",
    "stock_names": ["yolov8.yaml"],
    "loaded": True,
    "patched": list(wanted_names()),
}


def run(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    code = cli.main([str(part) for part in argv])
    out, err = capsys.readouterr()
    return code, out, err


# The command itself


def test_help_needs_neither_torch_nor_ultralytics(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys, scsa_yolo.cli as c; c.main(['--help']); print(sorted({'torch', 'ultralytics'}"
        " & {*sys.modules}))"
    )
    assert run_python(code).text.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_with_an_example(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"  scsa-yolo {name}" in out
    assert max(map(len, out.splitlines())) <= 120


def test_the_examples_are_understood() -> None:
    for command in cli.COMMANDS.values():
        for example in command.examples.splitlines():
            cli.parser().parse_args(example.split(" > ")[0].split()[1:])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"scsa-yolo {scsa_yolo.__version__}\n", "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("modles",), "invalid choice: 'modles'. Did you mean models? There are doctor, models"),
        (("evalute", "best.pt"), "Did you mean evaluate?"),
        (("EVALUATE",), "Did you mean evaluate?"),
        (("train",), "Type: yolo train model=yolov8n-scsa.yaml data="),
        (("val",), "scsa-yolo evaluate best.pt data=my.yaml"),
        (("convert",), "Type: scsa-yolo data convert --help"),
        (("qqq",), "invalid choice: 'qqq'. There are doctor, models"),
        (("data", "chek"), "Did you mean check? There are convert, check, show"),
        (("study", "raport"), "Did you mean report?"),
        (
            ("models", "--scalse"),
            "unrecognized arguments: --scalse. Did you mean --scales?",
        ),
        (
            ("models", "yolo11", "more"),
            "unrecognized arguments: more. Type: scsa-yolo models --help",
        ),
        (("models", "yolo11n", "--json=out.txt"), "must end in .json, got 'out.txt'"),
        (("models", "yolov7"), "no packaged model matches 'yolov7'"),
        (("models", "--scales", "n", "--all-scales"), "not allowed with"),
        (
            ("graft", "yolov8n.yaml"),
            "the following arguments are required: attention. Type: scsa-yolo graft --help",
        ),
        (("graft", "yolov8m.yaml", "EMMA"), "unknown attention 'EMMA'. Did you mean EMA?"),
        (
            ("graft", "yolov8n.yaml", "SCSA", "--rows", "2,x"),
            "--rows takes layer numbers such as 2,4,6, got '2,x'",
        ),
        (
            ("graft", "yolov8n.yaml", "SCSA", "--rows", "3"),
            "rows must be among those with residual units",
        ),
        (
            ("graft", "yolov8n.yaml", "SCSA", "--slot", "in"),
            "slot must be one of 'mid', 'out', got 'in'",
        ),
        (("graft", "yolov8n.yaml", "SCSA", "--start", "zero"), "start must be one of"),
        (("graft", "yolov8n.yaml", "SCSA", "--units", "mlp"), "units must be one of 'residual'"),
        (("graft", "yolov8n.yaml", "SCSA", "--option", "units=ffn"), "SCSA has no option 'units'"),
        (("graft", "yolov8n", "SCSA", "--units", "ffn"), "no row with feed-forward units"),
        (("graft", "yolov8n.yaml", "scsa"), "unknown attention 'scsa'. Did you mean SCSA?"),
        (("graft", "yolov8n.yaml", "SCSA", "--option", "windw=9"), "SCSA has no option 'windw'"),
        (("graft", "yolov8n.yaml", "SCSA", "--option", "rows=9"), "SCSA has no option 'rows'"),
        (("graft", "nowhere.yaml", "SCSA"), "there is no model YAML 'nowhere.yaml'"),
        (("graft", "coco8.yaml", "SCSA"), "has no list 'backbone' and 'head'"),
        (("graft", "rtdetr-l.yaml", "SCSA"), "no row with residual units"),
        (
            ("graft", "yolov8n.yaml", "SCSA", "-o", "no/folder/x.yaml"),
            "there is no folder 'no/folder'",
        ),
        (("graft", "yolov8n.yaml", "SCSA", "-o", "x.txt"), "must end in .yaml"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, *argv)
    assert code == cli.USAGE_ERROR
    assert out == ""
    assert err.startswith("scsa-yolo: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_missing_package_sends_to_the_doctor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("scsa_yolo.modelfiles.catalogue.entries", missing)
    assert run(capsys, "models") == (
        cli.USAGE_ERROR,
        "",
        "scsa-yolo: No module named 'torch'. Type: scsa-yolo doctor\n",
    )


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ImportError("needs x. Type: pip install x"), 2, "needs x. Type: pip install x"),
        (ImportError('needs x: pip install "x"'), 2, 'needs x: pip install "x"'),
        (ImportError("no x"), 2, "no x. Type: scsa-yolo doctor"),
        (ValueError("first\nsecond"), 2, "first second"),
        (
            OSError(28, "No space left on device", "a.png"),
            2,
            "[Errno 28] No space left on device: 'a.png'",
        ),
        (ValueError(), 2, "ValueError"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("the same command goes on"), 130, "the same command goes on"),
    ],
)
def test_one_table_of_exit_codes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def fail(args: Any) -> int:
        raise error

    for name, argv in (("models", ()), ("evaluate", ("best.pt", "data=x.yaml"))):
        command = dataclasses.replace(cli.COMMANDS[name], run=fail)
        monkeypatch.setitem(cli.COMMANDS, name, command)
        assert run(capsys, name, *argv) == (code, "", f"scsa-yolo: {line}\n")


@pytest.mark.parametrize("argv", [(), ("help",), ("--help",)])
def test_bare_command_is_help(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    assert out.startswith("usage: scsa-yolo")
    assert "130 interrupted" in " ".join(out.split())


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "help", "graft") == run(capsys, "graft", "--help")


@pytest.mark.parametrize("message", ["something is missing", "a question?", "Type: this"])
def test_an_error_says_once_what_to_type(capsys: pytest.CaptureFixture[str], message: str) -> None:
    with pytest.raises(SystemExit):
        cli.parser().error(message)
    err = capsys.readouterr().err
    assert err.count("Type:") == 1
    assert "?." not in err


# models


def test_models_table_fits_120_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = run(capsys, "models", "yolo11n-scsa")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 120
    assert re.search(
        r"yolo11n-scsa.yaml +detect +2,630,864 +2,624,080 +\+6,784 .* 11 SCSA:"
        r" 2,4,6,8,13,16,19,22\n",
        out,
    )


def test_models_table_of_all_sizes_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(capsys, "models", "--all-scales")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"yolo11n-scsa +2,630,864 +\+6,784 .* 11 SCSA\n", out)


def test_models_are_listed_without_torch_and_ultralytics(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys, scsa_yolo.cli as c; c.main(['models', '--all-scales', '--csv']);"
        " print(sorted({'torch', 'ultralytics'} & {*sys.modules}))"
    )
    lines = run_python(code).text.splitlines()
    assert lines[-1] == "[]"
    assert len(lines) == len(catalogue.entries()) + 2


def test_models_json_and_csv_hold_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "models", "rtdetr-r18.yaml", "--json")
    (row,) = json.loads(out)
    assert code == 0
    assert row["name"] == "rtdetr-r18.yaml"
    assert row["attention"] == {}
    assert row["stock"] is None
    code, out, _ = run(capsys, "models", "rtdetr-r18.yaml", "--csv")
    (line,) = csv.DictReader(io.StringIO(out))
    assert int(line["parameters"]) == row["parameters"] == 20_184_208
    assert line["stock"] == ""


def test_models_json_into_a_file_and_never_over_another_unless_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "models.json"
    assert run(capsys, "models", "--json", path, "yolov9t") == (0, "", f"wrote {path}\n")
    written = path.read_text(encoding="utf-8")
    assert [row["name"] for row in json.loads(written)] == ["yolov9t-scsa.yaml"]
    code, _, err = run(capsys, "models", "--json", path, "yolov8")
    assert code == cli.USAGE_ERROR
    assert "add --force" in err
    assert path.read_text(encoding="utf-8") == written
    assert run(capsys, "models", "--json", path, "yolov8", "--force")[0] == 0
    # a word that does not end in .json is the text to look for
    code, out, _ = run(capsys, "models", "--json", "yolov9t")
    assert [row["name"] for row in json.loads(out)] == ["yolov9t-scsa.yaml"]


# graft


def test_graft_takes_a_name_without_its_suffix(capsys: pytest.CaptureFixture[str]) -> None:
    assert yaml.safe_load(run(capsys, "graft", "yolov8n", "ECA")[1]) == yaml.safe_load(
        run(capsys, "graft", "yolov8n.yaml", "ECA")[1]
    )


def test_graft_prints_a_model_and_says_the_rest_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = run(
        capsys,
        "graft",
        "yolov8n.yaml",
        "SCSA",
        "--rows",
        "4,6",
        "--option",
        "window=9",
        "--slot",
        "out",
    )
    d = yaml.safe_load(out)
    assert code == 0
    assert d["backbone"][4][3][-1] == {"slot": "out", "window": 9}
    assert list(d["scales"]) == ["n"]
    assert "#   scsa-yolo graft yolov8n.yaml SCSA --rows 4,6 --option window=9 --slot out\n" in out
    assert "detect, scale n, 4 SCSA in rows 4,6" in err


def test_printed_yaml_is_alone_on_stdout_even_when_ultralytics_makes_its_settings(
    yolo_home: Any,
) -> None:
    done = yolo_home.run(
        "sh", "-c", '"$0" -m scsa_yolo.cli graft yolov8.yaml ECA > out.yaml', sys.executable
    )
    assert "Creating new Ultralytics Settings" in done.text
    assert "yolo takes scale n unless" in done.text
    assert yaml.safe_load((yolo_home.folder / "out.yaml").read_text(encoding="utf-8"))["nc"] == 80


def test_graft_takes_a_bare_name_and_the_feed_forward_branches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "graft", "yolo11n", "ECA", "--units", "ffn")
    assert code == 0
    assert "C2PSAFFN_ECA" in out
    assert "C3k2_ECA" not in out
    assert "with ECA in its feed-forward units" in out


def test_graft_writes_a_file_and_never_over_another_unless_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "yolo11s-seg-ema.yaml"
    argv = ("graft", "yolo11s-seg.yaml", "EMA", "--start", "identity", "-o", path)
    code, out, err = run(capsys, *argv)
    assert (code, out) == (0, "")
    assert f"{path}: segment, scale s, 11 EMA in rows" in err
    assert f"yolo train model={path}" in err
    path.write_text("mine\n", encoding="utf-8")
    code, _, err = run(capsys, *argv)
    assert code == cli.USAGE_ERROR
    assert f"'{path}' is there already. Choose another name, or add --force" in err
    assert path.read_text(encoding="utf-8") == "mine\n"
    assert run(capsys, *argv, "--force")[0] == 0
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["backbone"][2][3][-1] == {
        "start": "identity"
    }
    assert [found.name for found in tmp_path.iterdir()] == [path.name]  # no temporary file is left


def test_a_graft_of_a_name_as_long_as_a_file_system_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / f"yolov8n-{'é' * 121}.yaml"
    assert len(path.name.encode()) == 255
    code, _, err = run(capsys, "graft", "yolov8n.yaml", "ECA", "-o", path)
    assert code == 0, err
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_graft_that_does_not_build_writes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(name: Path) -> None:
        raise RuntimeError("cannot be built")

    monkeypatch.setattr("scsa_yolo.complexity.load", fail)
    code, _, err = run(capsys, "graft", "yolov8n.yaml", "SCSA", "-o", tmp_path / "x.yaml")
    assert code == cli.USAGE_ERROR
    assert "does not build, nothing is written: cannot be built" in err
    assert not list(tmp_path.iterdir())


def test_a_grafted_file_works_with_the_stock_command_in_a_folder_of_its_own(
    yolo_home: Any, tiny_data: Path
) -> None:
    yolo_home.python("import sys; from scsa_yolo.cli import main; sys.exit(main(sys.argv[1:]))",
                     "graft", "yolov8n.yaml", "ECA", "-o", "mine.yaml")  # fmt: skip
    options = ("epochs=1", "imgsz=64", "batch=2", "workers=0", "plots=False", "device=cpu")
    done = yolo_home.yolo(
        "train", "model=mine.yaml", f"data={tiny_data}", *options, f"project={yolo_home.folder}"
    )
    assert "C2f_ECA" in done.text
    assert list(yolo_home.folder.rglob("best.pt")), done.text


# doctor


def test_floors_are_those_of_the_distribution() -> None:
    required = importlib.metadata.requires("scsa-yolo") or []
    for name, floor in doctor.FLOORS.items():
        assert f"{name}>={floor}" in required
    extras = set(importlib.metadata.metadata("scsa-yolo").get_all("Provides-Extra") or [])
    for _, install in doctor.OPTIONAL.values():
        extra = re.fullmatch(r"scsa-yolo\[(\w+)\]", install)
        assert extra is None or extra[1] in extras


def test_doctor_finds_this_installation_well(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", "--json")
    report = json.loads(out)
    assert [check for check in report["checks"] if check["state"] in (PROBLEM, WARNING)] == []
    assert code == 0
    assert report["healthy"]
    (model,) = [check for check in report["checks"] if check["name"] == "model"]
    assert "10 SCSA" in model["found"]


@pytest.mark.parametrize(
    ("direct", "typed"),
    [
        ('{"dir_info": {"editable": true}, "url": "file:///my%20code/scsa"}', '-e "/my code/scsa"'),
        ('{"dir_info": {}, "url": "file:///code/scsa"}', '"/code/scsa"'),
        ('{"archive_info": {}, "url": "file:///w/scsa_yolo-0.1.0-py3-none-any.whl"}', '.whl"'),
        ('{"archive_info": {}, "url": "https://a.test/scsa.whl"}', '"https://a.test/scsa.whl"'),
        (None, "the wheel, or the checkout"),
    ],
)
def test_a_reinstallation_is_from_where_it_came(
    monkeypatch: pytest.MonkeyPatch, direct: str | None, typed: str
) -> None:
    """The package is on no index, so its name alone is nothing that pip can find."""

    class Distribution:
        def read_text(self, name: str) -> str | None:
            return direct if name == "direct_url.json" else None

    monkeypatch.setattr(doctor.metadata, "distribution", lambda name: Distribution())
    again = doctor.reinstall()
    assert again.startswith("pip install --force-reinstall --no-deps ")
    assert again.endswith(typed)
    assert "scsa-yolo" not in again


@pytest.mark.parametrize(
    ("name", "facts", "state", "found", "fix"),
    [
        ("torch", {}, OK, "2.15.0+cu132", ""),
        ("torch", {"torch": "2.4.1"}, PROBLEM, "2.4.1 is older than 2.5", 'pip install -U "torch>=2.5"'),
        ("torch", {"torch": None, "torch_error": "ModuleNotFoundError: No module named 'torch'"},
         PROBLEM, "No module named 'torch'", 'pip install -U "torch>=2.5"'),
        ("torch", {"torch": None, "torch_error": "RuntimeError: Failed to load the backend extension: x."},
         PROBLEM, "Failed to load", "TORCH_DEVICE_BACKEND_AUTOLOAD=0"),
        ("ultralytics", {}, OK, "8.4.190", ""),
        ("ultralytics", {"ultralytics": "8.4.9"}, PROBLEM, "8.4.9 is older than 8.4.108", "ultralytics>=8.4.108"),
        ("ultralytics", {"ultralytics": None, "ultralytics_error": ""}, PROBLEM, "cannot be imported", "pip install"),
    ],
)  # fmt: skip
def test_libraries(name: str, facts: dict[str, Any], state: str, found: str, fix: str) -> None:
    check = doctor.library(name, {**HEALTHY, **facts})
    assert check.state == state
    assert found in check.found
    assert fix in check.fix


@pytest.mark.parametrize(
    ("facts", "environment", "state", "found", "fix"),
    [
        ({}, {}, OK, "active; extended in Ultralytics: utils.checks.check_file", ""),
        ({}, {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}, WARNING, "switched off by TORCH", "unset TORCH_DEVICE"),
        ({}, {"SCSA_YOLO_AUTOLOAD": "0"}, WARNING, "SCSA_YOLO_AUTOLOAD=0", "unset SCSA_YOLO_AUTOLOAD"),
        ({"loaded": False, "patched": []}, {}, PROBLEM, "does not load us", "pip install"),
        ({"patched": ["ultralytics.a"]}, {}, PROBLEM, " names are extended: a", "register()"),
    ],
)  # fmt: skip
def test_autoload(
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    environment: dict[str, str],
    state: str,
    found: str,
    fix: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    entry, autoload = doctor.loading({**HEALTHY, **facts}, environment)
    assert entry.state == OK
    assert autoload.state == state
    assert found in autoload.found
    assert fix in autoload.fix


@pytest.mark.parametrize(
    ("facts", "driver", "hidden", "state", "found"),
    [
        ({}, "", None, NOTE, "none, the CPU is used (torch with CUDA 13.2)"),
        ({"gpus": ["NVIDIA H200"]}, "580.1", None, OK, "NVIDIA H200; torch with CUDA 13.2; driver 580.1"),
        ({"gpus": ["X"], "gpu_error": "no kernel image"}, "580.1", None, PROBLEM, "cannot compute on it: no"),
        ({"cuda_build": None}, "580.1", None, WARNING, "driver 580.1 is here, but torch (no CUDA) sees no GPU"),
        ({}, "580.1", "", NOTE, "hidden by CUDA_VISIBLE_DEVICES"),
        ({"mps": True, "cuda_build": None}, "", None, OK, "device=mps"),
    ],
)  # fmt: skip
def test_gpu(
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    driver: str,
    hidden: str | None,
    state: str,
    found: str,
) -> None:
    monkeypatch.setattr(doctor, "_driver", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    check = doctor.gpu({**HEALTHY, **facts})
    assert check.state == state
    assert found in check.found


def test_names_that_ultralytics_has_too_are_a_warning() -> None:
    check = doctor.names({**HEALTHY, "stock_names": ["yolov8-scsa.yaml"]})
    assert check.state == WARNING
    assert "yolov8-scsa.yaml" in check.found


# Packages that stand before the installed ones: what is missing, too old, or broken.
BROKEN = {
    "ultralytics": (
        "raise ModuleNotFoundError(\"No module named 'ultralytics'\")",
        "No module named 'ultralytics'",
    ),
    "torch": ("raise ModuleNotFoundError(\"No module named 'torch'\")", "No module named 'torch'"),
    "old": ("__version__ = '8.3.0'\nYOLO = None", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_doctor_speaks_where_a_library_is_broken(yolo_home: Any, name: str) -> None:
    source, message = BROKEN[name]
    package = yolo_home.folder / "first" / ("ultralytics" if name == "old" else name)
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source, encoding="utf-8")
    code = "import sys; from scsa_yolo.cli import main; sys.exit(main(['doctor']))"
    done = yolo_home.python(code, ok=False, PYTHONPATH=str(package.parent))
    assert done.code == 1
    assert "Traceback" not in done.text
    assert message in done.text
    assert "type: pip install -U" in done.text
