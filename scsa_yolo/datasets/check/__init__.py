"""``scsa-yolo data check``: what is wrong with a data set, before hours of training."""
