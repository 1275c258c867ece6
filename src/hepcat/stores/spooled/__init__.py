"""The spooled store: an on-disk queue before a database, and the threads that write from it, once each."""

from hepcat.stores.spooled.store import SpooledStore

__all__ = ["SpooledStore"]
