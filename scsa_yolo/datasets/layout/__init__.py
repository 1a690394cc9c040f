"""Ultralytics' layout as it lies on disk: a data YAML, its splits, label files, side files and
pictures.
"""
