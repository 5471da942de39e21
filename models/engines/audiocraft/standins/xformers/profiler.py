"""Says that nothing is being profiled. audiocraft asks in every layer of every step; a failing import would be slower."""

from __future__ import annotations


class _Profiler:
    _CURRENT_PROFILER = None


class profiler:  # noqa: N801 - in xformers a module of this name
    _Profiler = _Profiler
