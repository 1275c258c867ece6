"""Tests of the stores beyond the lake."""
