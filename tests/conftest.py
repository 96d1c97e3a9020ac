"""Plugins of all tests: `pytester` has to be named at the top."""

pytest_plugins = ["pytester"]
