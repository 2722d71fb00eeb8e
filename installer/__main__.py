"""`python3 -m installer VERB`: set a checkout up, fill its wheelhouse, look at the machine.

This file alone must be readable by any Python 3, so that an old one gets an answer instead of a syntax error.
"""

import os
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OLDEST, NEWEST = (3, 11), (3, 13)


def suits(version: "Sequence[int]") -> bool:
    """Whether a Python (major, minor) is one the appliance runs on."""
    return OLDEST <= tuple(version) <= NEWEST


def another_python() -> "str | None":
    """The newest suitable Python on the search path, or None. A shim may be there and not work, so each is asked."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = "python3." + str(minor)
        try:
            said = subprocess.run(
                [name, "-c", "import sys; print(sys.version_info[1])"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            continue
        if said.returncode == 0 and said.stdout.strip() == str(minor).encode():
            return name
    return None


def main() -> int:
    """Make sure of the Python, then do what was asked."""
    if not suits(sys.version_info[:2]):
        found = another_python()
        if found is None:
            sys.stderr.write(
                "error: this is Python {}.{}; the appliance needs 3.11, 3.12 or 3.13\n"
                "hint: install one (Debian 12 and later have it as python3), "
                "or name it: make PYTHON=/path/to/python3.11 run\n".format(*sys.version_info)
            )
            return 1
        os.execvp(found, [found, "-m", "installer", *sys.argv[1:]])  # noqa: S606
    from installer.commands import dispatch

    return dispatch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
