"""The worker of a run under its first path: jobs and scripts name ``python -m
scsa_yolo.study.worker JOB.json``.
"""

import sys

from scsa_yolo.study.running.worker import main

if __name__ == "__main__":
    sys.exit(main())
