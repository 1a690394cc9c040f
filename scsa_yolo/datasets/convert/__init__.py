"""From a native data set to Ultralytics' layout: read, write, report."""
