"""Profilers: where the time of a run goes."""

from kgenre.profilers.advanced import AdvancedProfiler
from kgenre.profilers.profiler import Profiler
from kgenre.profilers.simple import SimpleProfiler
from kgenre.profilers.trace import TraceProfiler

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "trace": TraceProfiler}

__all__ = ["PROFILERS", "AdvancedProfiler", "Profiler", "SimpleProfiler", "TraceProfiler"]
