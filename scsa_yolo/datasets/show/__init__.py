"""``scsa-yolo data show``: samples of a data set with their boxes drawn."""
