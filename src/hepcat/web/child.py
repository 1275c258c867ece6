"""The page's process, as `hepcat serve` starts it: see process.py.

In: settings and descriptors on standard input. Out: exit code 0 once told to stop, 1 with a line of log where
something is wrong.
"""

import contextlib
import gc
import os
import socket
import sys
from typing import Final

#: Below what receives and stores.
_NICE: Final = 10


def main() -> None:
    """Run."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    from hepcat.web.process import read_task

    settings, listening, tls = read_task()
    import structlog

    from hepcat.errors import HepcatError
    from hepcat.pipeline.logs import setup_logs
    from hepcat.web.listening import tls_context, url_of
    from hepcat.web.running import run
    from hepcat.web.site import SiteOptions

    setup_logs(settings.log)
    try:
        context = tls_context(tls[0], tls[1]) if tls else None
        opened = socket.socket(fileno=listening)
        gc.freeze()  # what was imported stays: no use in looking at it again and again
        run(SiteOptions(settings, listen=url_of(settings, opened), expects_server=True), opened, context)
    except HepcatError as error:
        structlog.get_logger("hepcat.web").error("no page", problem=str(error), hint=error.hint)
        sys.exit(1)


if __name__ == "__main__":
    main()
