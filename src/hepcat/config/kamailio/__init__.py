"""Kamailio's configuration of a capture server, as hepcat's settings."""

from hepcat.config.kamailio.reader import Converted, read_kamailio

__all__ = ["Converted", "read_kamailio"]
