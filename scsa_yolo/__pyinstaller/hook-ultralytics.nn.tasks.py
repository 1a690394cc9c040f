"""A program with Ultralytics' models gets ours, as an installation does: torch loads the entry
point, which no import statement shows.
"""

hiddenimports = ["_scsa_yolo_autoload", "scsa_yolo"]
