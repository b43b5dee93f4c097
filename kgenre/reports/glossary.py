"""The report's glossary."""

GLOSSARY = (
    "Loss (binary cross-entropy): minus the logarithm of the probability that the model gave to the true label, mean "
    "over all pairs of film and genre; 0 is perfect. Precision: the share of predicted genres that are correct. "
    "Recall: the share of true genres that are predicted. F1: their harmonic mean. Micro: over all pairs together, "
    "so that frequent genres count most; macro: the mean over genres, each counting the same. Threshold: the "
    "probability above which a genre is predicted. Average precision: films sorted by a genre's probability, the "
    "mean of the precision at each film that has it; mAP: its mean over genres. ROC AUC: how often a film with a "
    "genre is ranked above one without it; 0.5 is chance. Top-3 hit: the share of films for which one of the three "
    "most probable genres is correct. Calibration error (ECE): of ten pairs to which a model gives 30 %, three "
    "should be correct; how far it is from that, on average. Brier: the mean squared error of the probabilities. "
    "Interval (95 %): of 100 intervals, each from another sample of test films of the same kind, about 95 contain the "
    "value for all such films. Significant: the 95 % interval of the difference does not contain zero; of genres, "
    "those that remain when their number is allowed for (false discovery rate 5 %)."
)
