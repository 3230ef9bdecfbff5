"""The examples in the docstrings run and are right."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import benchmark.metrics

MODULES = [f"benchmark.metrics.{module.name}" for module in pkgutil.iter_modules(benchmark.metrics.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_right(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
