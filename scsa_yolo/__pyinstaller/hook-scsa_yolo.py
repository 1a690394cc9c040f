"""What a frozen program needs of this package to build, load and run models, and no more: the
commands, studies and data sets would draw in all the libraries that they can use.
"""

from PyInstaller.utils.hooks import collect_submodules, copy_metadata

from scsa_yolo.support.packaged import packaged_folder

ROOMS = ("support", "attention", "blocks", "host")  # checkpoints name classes in two of them

hiddenimports = ["_scsa_yolo_autoload", "scsa_yolo.grafting", "scsa_yolo.injection"]
for room in ROOMS:
    hiddenimports += collect_submodules(f"scsa_yolo.{room}")

# The entry point is found by the distribution's metadata, and YAMLs inside the package.
datas = copy_metadata("scsa-yolo")
for name in ("models", "data"):
    datas.append((str(packaged_folder(name)), f"scsa_yolo/{name}"))
