"""Paired comparisons that several rooms share: differences over seeds, and calls timed in turns."""
