"""`python killed.py NUMBER release-arguments`: the command line, killed (SIGKILL) at its step of that number."""

import os
import pathlib
import signal
import sys

from serving.release.__main__ import main

taken = 0


def counted(real):
    def step(*arguments, **options):
        global taken
        taken += 1
        if taken == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    return step


os.fsync = counted(os.fsync)
pathlib.Path.replace = counted(pathlib.Path.replace)
pathlib.Path.rename = counted(pathlib.Path.rename)
sys.exit(main(sys.argv[2:]))
