"""How good predictions are, and what a sober person would compare them with. Needs no backend."""

from kgenre.evaluation.average_precision import average_precision as average_precision
from kgenre.evaluation.baselines import Baseline as Baseline
from kgenre.evaluation.baselines import FrequencyBaseline as FrequencyBaseline
from kgenre.evaluation.baselines import TfidfBaseline as TfidfBaseline
from kgenre.evaluation.comparison import compare_with_baselines as compare_with_baselines
from kgenre.evaluation.metrics import genres_without_positives as genres_without_positives
from kgenre.evaluation.metrics import multilabel_metrics as multilabel_metrics
