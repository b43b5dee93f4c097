"""The words of a report, for who meets them first."""

GLOSSARY = (
    "Loss (binary cross-entropy): minus the logarithm of the probability that the model gave to the truth, the mean "
    "over all pairs of film and genre; 0 is perfect. Precision: the share of the genres named that are right. Recall: "
    "the share of the right genres that are named. F1: their harmonic mean. Micro: over all pairs together, so that "
    "frequent genres count most; macro: the mean over genres, each counting the same. Threshold: the probability above "
    "which a genre is named. Average precision: films sorted by a genre's probability, the mean of the precision at "
    "each film that has it; mAP: its mean over genres. ROC AUC: how often a film with a genre is ranked above one "
    "without it; 0.5 is chance. Top-3 hit: the share of films for which one of the three most probable genres is "
    "right. Calibration error (ECE): of ten pairs to which a model gives 30 %, three should be right; how far it is "
    "from that, on average. Brier: the mean squared error of the probabilities. Interval: where the number would lie "
    "with other test films of the same kind, 95 times of 100."
)
