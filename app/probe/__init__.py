"""Compares what a real account's answers hold with what the gateway expects, and shows no value of them."""

from app.probe.methods import METHODS, Probed, run
from app.probe.reading import ReadingTransport
from app.probe.report import MethodReport, Report
from app.probe.session import Choices, Session

__all__ = ["METHODS", "Choices", "MethodReport", "Probed", "ReadingTransport", "Report", "Session", "run"]
