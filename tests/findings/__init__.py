"""Tests of what went wrong and of the other legs."""
