"""Reports on tested runs, two or three pages long: HTML, Markdown, PDF and a model card."""

from kgenre.reports.examples import Examples as Examples
from kgenre.reports.examples import examples as examples
from kgenre.reports.read_runs import read_runs as read_runs
from kgenre.reports.report import write_report as write_report
from kgenre.reports.run import ReportError as ReportError
from kgenre.reports.run import Run as Run
