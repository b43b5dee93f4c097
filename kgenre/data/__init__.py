"""From films on disk to batches: layouts, posters, overviews, the split, and the DataModule that combines them.

Importing this package imports neither TensorFlow nor Keras; making the first batch does.
"""

from kgenre.data.augmentation import Augmentation
from kgenre.data.batches import FilmBatches, FilmTensors
from kgenre.data.errors import FilmDataError
from kgenre.data.film_data import FilmData
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats import read_films
from kgenre.data.overviews import OverviewVectorizer
from kgenre.data.poster_examination import examine_posters
from kgenre.data.poster_files import PosterFile
from kgenre.data.posters import read_poster, read_posters
from kgenre.data.sample import make_sample_films, sample_films
from kgenre.data.split import Split, split_films

__all__ = [
    "Augmentation",
    "FilmBatches",
    "FilmData",
    "FilmDataError",
    "FilmTable",
    "FilmTensors",
    "LeftOut",
    "OverviewVectorizer",
    "PosterFile",
    "Split",
    "examine_posters",
    "make_sample_films",
    "read_films",
    "read_poster",
    "read_posters",
    "sample_films",
    "split_films",
]
