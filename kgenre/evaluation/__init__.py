"""Metrics, thresholds, confidence intervals and baselines for multi-label predictions. Needs no Keras backend."""

from kgenre.evaluation.baselines import Baseline as Baseline
from kgenre.evaluation.baselines import FrequencyBaseline as FrequencyBaseline
from kgenre.evaluation.baselines import TfidfBaseline as TfidfBaseline
from kgenre.evaluation.bootstrap import bootstrap_metrics as bootstrap_metrics
from kgenre.evaluation.bootstrap import intervals as intervals
from kgenre.evaluation.comparison import compare_with_baselines as compare_with_baselines
from kgenre.evaluation.genre_metrics import genre_metrics as genre_metrics
from kgenre.evaluation.metrics import multilabel_metrics as multilabel_metrics
from kgenre.evaluation.ranking import average_precision as average_precision
from kgenre.evaluation.ranking import roc_auc as roc_auc
from kgenre.evaluation.thresholds import Thresholds as Thresholds
from kgenre.evaluation.thresholds import tune_thresholds as tune_thresholds
