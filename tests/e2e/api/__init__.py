"""Tests of admission. A package, so that what is made for all of them goes after the last one."""
