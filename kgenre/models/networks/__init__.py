"""The networks, one file each: a function of the file's name that builds the Keras model.

A new one needs its file here, its name in `NETWORKS`, and the import in ``kgenre/models/__init__.py`` that shows it to
type checkers and editors; `GenreClassifier`, whose docstring lists them all, then trains it by its name.
"""

NETWORKS = (
    "poster_cnn_2024",
    "poster_cnn_2025",
    "overview_lstm",
    "overview_lstm_pooled",
    "overview_words",
    "overview_lstm_words",
    "poster_colours",
    "poster_resnet_colours",
    "poster_resnet",
    "poster_overview_fusion",
    "fused",
)
