"""One sentence, before anything is installed, about what this Python or folder lacks. Runs on any Python."""
# ruff: noqa: UP031, UP036

import os
import sys


def complaint():
    """What is wrong and what would be right, or None."""
    here = os.getcwd()
    if sys.version_info < (3, 10):
        return "%s is Python %d.%d: name a Python 3.10 or newer, as in `make book PYTHON=python3.12`" % (
            (sys.executable,) + sys.version_info[:2]
        )
    if not os.access(here, os.W_OK):
        return "cannot write to %s: clone into a folder of your own" % here
    if os.path.exists(".venv/bin/python"):
        if not os.path.isdir(".venv/lib/python%d.%d" % sys.version_info[:2]):
            return ".venv holds another Python than %s: remove it (`rm -r .venv`) and run make again" % sys.executable
        return None
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "this Python cannot make virtual environments: install venv (Debian, Ubuntu: apt install python3-venv)"


if __name__ == "__main__":
    if complaint():
        sys.exit("error: " + complaint())
