"""The entry point cannot break ``import torch``, whatever became of the package."""

from __future__ import annotations

import ast
import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("damage.py")
ENTRY = "_scsa_yolo_autoload.py"
# As torch does it at the end of its __init__, errors included.
TORCH = """
from importlib.metadata import entry_points

for extension in entry_points(group="torch.backends"):
    try:
        extension.load()()
    except Exception as err:
        raise RuntimeError(f"Failed to load the backend extension: {extension.name}.") from err
"""
# What import torch and a stock model load of ours, and how each of these files is damaged.
INSIDE_TORCH = [
    "scsa_yolo/__init__.py",
    *(f"scsa_yolo/host/{n}.py" for n in ("__init__", "autoload", "hooks", "names", "registration")),
]
ALL_KINDS = ["missing", "empty", "cut", "syntax", "raising", "binary", "latin", "folder"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the cases are forks")


def install(site: Path, package: bool = True) -> Path:
    """Lay the package into a folder as a wheel does, its entry point included."""
    site.mkdir(parents=True, exist_ok=True)
    shutil.copy2(ROOT / ENTRY, site / ENTRY)
    record = site / "scsa_yolo-0.0.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: scsa-yolo\nVersion: 0.0.0\n")
    entry = "[torch.backends]\nscsa_yolo = _scsa_yolo_autoload:main\n"
    (record / "entry_points.txt").write_text(entry)
    if package:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "scsa_yolo", site / "scsa_yolo", ignore=skip)
        for name in ("models", "data"):
            shutil.copytree(ROOT / name, site / "scsa_yolo" / name)
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed and compiled; the cases put each file back that they damage."""
    made = install(tmp_path_factory.mktemp("wheel") / "site")
    compileall.compile_dir(made, quiet=2)
    return made


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a torch that does nothing but run the entry points."""
    folder = tmp_path_factory.mktemp("fake")
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(TORCH)
    return folder


def damage(what: str, site: Path, cases: list[tuple[str, str]], *path: Path) -> dict[str, Any]:
    places = os.pathsep.join(map(str, path))
    alone = ["-S"] if what == "import" else []  # without site-packages, which take long to search
    command = [sys.executable, *alone, DRIVER, what, site, json.dumps(cases)]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": places},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def source_files() -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "scsa_yolo").rglob("*.py"))


def test_import_torch_with_each_file_damaged(site: Path, fake: Path) -> None:
    cases = [(file, kind) for file in INSIDE_TORCH for kind in ALL_KINDS]
    cases += [(file, "syntax") for file in source_files() if file not in INSIDE_TORCH]
    answers = damage("import", site, cases, fake)
    whole = answers["whole"]
    assert whole == {"registered": True, "loaded": whole["loaded"], "warned": []}
    assert {f"{n.replace('.', '/')}.py" for n in whole["loaded"]} <= {
        *INSIDE_TORCH,
        "scsa_yolo.py",
        "scsa_yolo/host.py",
    }
    for case, answer in answers.items():
        assert "error" not in answer, f"{case}: {answer['error']}"
        file, _, kind = case.partition(" ")
        harmless = file not in INSIDE_TORCH
        if harmless:
            assert (answer["registered"], answer["warned"]) == (True, []), case
        elif kind not in ("", "cut"):  # half a file may end after all that it is needed for
            assert answer["warned"] or answer["registered"], f"{case}: silent"


def test_stock_models_with_each_file_damaged(site: Path) -> None:
    """Every file that a stock model makes Python load, damaged one by one."""
    loaded = damage("stock", site, [])["whole"]["loaded"]
    files = [file for file in source_files() if dotted(file) in loaded]
    assert len(files) > 25
    kinds = ("empty", "syntax")  # in turn, since each case is a stock model in a process of its own
    cases = [(file, kinds[number % 2]) for number, file in enumerate(files)]
    answers = damage("stock", site, cases)
    expected = answers["without us"]
    assert "error" not in expected
    for case, answer in answers.items():
        assert "error" not in answer, f"{case}: {answer['error']}"
        same = {name: answer[name] for name in ("mean", "file", "scale", "events")}
        assert same == {name: expected[name] for name in same}, case
        silent = not answer["warned"] and case not in ("without us", "whole")
        assert not silent or answer["registered"], case


def dotted(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# Somebody else's modules
# ---------------------------------------------------------------------------------------------

RAISING = "raise RuntimeError('a stranger was imported')"
ASK = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    {first}
    import torch
ours = any(type(f).__module__ == "scsa_yolo.host.hooks" for f in sys.meta_path)
print(json.dumps([ours, [str(w.message) for w in said]]))
"""


@pytest.fixture
def alone(yolo_home: Any) -> Callable[..., Any]:
    """Run code in a fresh interpreter that sees these folders and no site-packages."""

    def run(code: str, *path: Path, ok: bool = True, **env: str) -> Any:
        places = os.pathsep.join(map(str, path))
        return yolo_home.run(sys.executable, "-S", "-c", code, ok=ok, PYTHONPATH=places, **env)

    return run


@pytest.fixture
def ask(alone: Callable[..., Any]) -> Callable[..., Any]:
    """Import torch in a fresh interpreter; return whether we are registered, and the warnings."""

    def run(*path: Path, first: str = "", **env: str) -> Any:
        return json.loads(alone(ASK.format(first=first), *path, **env).text.splitlines()[-1])

    return run


@pytest.mark.parametrize(
    "name", ["hooks", "names", "autoload", "registration", "host", "support", "blocks", "rows"]
)
def test_a_strangers_module_of_an_inner_name(
    name: str, site: Path, fake: Path, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    (first / f"{name}.py").write_text(RAISING)
    assert ask(first, site, fake) == [True, []]


@pytest.mark.parametrize("source", [RAISING, "", "SCSA = 1"], ids=["raising", "empty", "quiet"])
@pytest.mark.parametrize("file", ["scsa_yolo.py", "scsa_yolo/__init__.py"])
def test_a_strangers_module_of_our_name(
    file: str,
    source: str,
    site: Path,
    fake: Path,
    tmp_path: Path,
    ask: Callable[..., Any],
) -> None:
    mine = tmp_path / "first" / file
    mine.parent.mkdir(parents=True)
    mine.write_text(source)
    registered, (warned,) = ask(tmp_path / "first", site, fake)
    assert not registered
    assert str(mine) in warned
    assert "Rename what stands in its way" in warned
    assert "a stranger was imported" not in warned


def test_a_strangers_folder_without_init_hides_nothing(
    site: Path, fake: Path, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    (tmp_path / "first" / "scsa_yolo" / "host").mkdir(parents=True)
    assert ask(tmp_path / "first", site, fake) == [True, []]


@pytest.mark.parametrize(
    ("stub", "said"),
    [
        ("types.ModuleType('scsa_yolo')", "finds nothing"),
        ("None", "finds nothing"),
        ("object()", "finds nothing"),
        ("unittest.mock.MagicMock()", "finds"),
    ],
)
def test_a_stub_in_our_place(
    stub: str, said: str, site: Path, fake: Path, ask: Callable[..., Any]
) -> None:
    first = f"import types, unittest.mock; sys.modules['scsa_yolo'] = {stub}"
    registered, (warned,) = ask(site, fake, first=first)
    assert not registered
    assert said in warned


def test_a_finder_of_somebody_else_that_fails(
    site: Path, fake: Path, ask: Callable[..., Any]
) -> None:
    first = """
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "scsa_yolo":
                raise BaseException("a finder failed")
    sys.meta_path.insert(0, Broken())
    """.strip()
    registered, (warned,) = ask(site, fake, first=first)
    assert not registered
    assert "a finder failed" in warned


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(7)"])
def test_an_interruption_is_not_swallowed(
    error: str, site: Path, fake: Path, alone: Callable[..., Any]
) -> None:
    code = f"""
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "scsa_yolo":
            raise {error}
sys.meta_path.insert(0, Interrupted())
import torch
print("went on")
"""
    done = alone(code, site, fake, ok=False)
    assert done.code != 0
    assert "went on" not in done.text


def test_warnings_as_errors_and_no_standard_error(
    site: Path, fake: Path, tmp_path: Path, alone: Callable[..., Any]
) -> None:
    (tmp_path / "scsa_yolo.py").write_text("")
    path = (tmp_path, site, fake)
    done = alone("import torch", *path, PYTHONWARNINGS="error")
    assert "RuntimeWarning: scsa_yolo stepped aside" in done.text
    alone("import sys; sys.stderr.close(); import torch", *path)
    alone("import sys; sys.stderr = None; import torch", *path)


def test_whoever_unregistered_before_torch_is_obeyed(
    site: Path, fake: Path, ask: Callable[..., Any]
) -> None:
    first = "import scsa_yolo; scsa_yolo.unregister()"
    assert ask(site, fake, first=first) == [False, []]


@pytest.mark.parametrize("value", ["0", "false", "OFF", " no "])
def test_the_switch_holds_even_for_a_broken_package(
    value: str, site: Path, fake: Path, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    (tmp_path / "scsa_yolo.py").write_text(RAISING)
    switch = {"SCSA_YOLO_AUTOLOAD": value}
    assert ask(tmp_path, site, fake, **switch) == [False, []]


# Kinds of installation
# ---------------------------------------------------------------------------------------------


def test_an_editable_install_and_its_folder_gone(
    fake: Path, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    """site-packages has a copy of the entry point's file; the package is in the checkout."""
    site = install(tmp_path / "site", package=False)
    (site / "scsa_yolo" / "models").mkdir(parents=True)  # hatch copies the YAMLs, no more
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "scsa_yolo", checkout / "scsa_yolo")
    shutil.copy2(ROOT / ENTRY, checkout / ENTRY)
    (site / "_editable.pth").write_text(f"{checkout}\n")
    read = f"import site; site.addsitedir({str(site)!r})"
    assert ask(fake, first=read) == [True, []]
    shutil.rmtree(checkout)
    registered, (warned,) = ask(fake, first=read)
    assert not registered
    assert f"a folder without __init__.py, {site / 'scsa_yolo'}" in warned
    assert "install scsa-yolo again" in warned


def test_a_package_in_an_archive(
    site: Path, fake: Path, tmp_path: Path, ask: Callable[..., Any], run_python: Callable[..., Any]
) -> None:
    """A wheel on the path is an archive: it is imported, and its YAMLs are found."""
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(site.rglob("*")):
            if "__pycache__" not in path.parts:
                file.write(path, path.relative_to(site))
    assert ask(archive, fake) == [True, []]
    code = """
import os
from ultralytics.nn.tasks import yaml_model_load
from ultralytics.utils.checks import check_file
import scsa_yolo.host.names as names
assert ".zip" in names.__file__, names.__file__
found = check_file("scsa-demo.yaml")
assert os.path.isfile(found), found
model = yaml_model_load("yolov8n-scsa.yaml")
print("scale", model["scale"], found)
"""
    done = run_python(code, PYTHONPATH=str(archive))
    _, scale, found = done.lines("scale")[0].split()
    assert scale == "n"
    assert not Path(found).parent.parent.exists(), "the copy is removed with the process"


@pytest.mark.parametrize("file", ["scsa_yolo/host/names.py", "scsa_yolo/blocks/stock.py"])
def test_the_real_torch_and_a_stock_model(
    file: str, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    site = install(tmp_path / "site")
    (site / file).write_text("def (:")
    code = """
import torch
from ultralytics import YOLO
print("parameters", sum(p.numel() for p in YOLO("yolov8n.yaml", verbose=False).model.parameters()))
"""
    done = run_python(code, PYTHONPATH=str(site))
    assert done.lines("parameters") == ["parameters 3157200"]
    assert "scsa_yolo stepped aside" in done.text


# The file itself
# ---------------------------------------------------------------------------------------------


def test_the_distribution_has_the_file_and_names_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    entries = text.split('[project.entry-points."torch.backends"]')[1].split("[tool", 1)[0]
    assert re.search(r'^scsa_yolo = "_scsa_yolo_autoload:main"$', entries, re.MULTILINE)
    wheel = text.split("[tool.hatch.build.targets.wheel.force-include]")[1].split("[tool", 1)[0]
    assert f'"{ENTRY}" = "{ENTRY}"' in wheel
    sdist = text.split("[tool.hatch.build.targets.sdist]")[1].split("[tool", 1)[0]
    assert f'"/{ENTRY}"' in sdist


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / ENTRY).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = node.module if isinstance(node, ast.ImportFrom) else names[0]
            assert str(module).split(".")[0] in {*sys.stdlib_module_names, "__future__"}


def test_both_files_read_the_switch_alike() -> None:
    from scsa_yolo.host import autoload

    text = (ROOT / ENTRY).read_text(encoding="utf-8")
    assert f'SWITCH = "{autoload.SWITCH}"' in text
