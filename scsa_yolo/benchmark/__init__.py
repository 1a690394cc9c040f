"""``scsa-yolo bench``: latency, throughput and memory of models, measured in turns."""
