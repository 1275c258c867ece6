"""The server's log: structlog on standard error, key=value for people, JSON for machines.

In: [log] of the settings. Out: structlog configured for the whole process; may be called again (reload).
"""

import logging
import sys
from typing import Any, Final

import structlog

from hepcat.config.settings import LogSettings

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def setup_logs(settings: LogSettings) -> None:
    """Write events of the level and above to standard error, in the format asked for."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S" if console else "iso", utc=not console),
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a reload changes the level of loggers in use
    )
    logging.basicConfig(level=LEVELS[settings.level], stream=sys.stderr)
