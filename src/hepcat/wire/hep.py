"""Kernel, to be written."""
