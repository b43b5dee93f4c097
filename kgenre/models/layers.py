"""All layers of kgenre's networks. After this import ``keras.saving.load_model`` knows them."""

from kgenre.models.bidirectional import Bidirectional
from kgenre.models.colours_and_layout import ColoursAndLayout
from kgenre.models.evidence_sum import EvidenceSum
from kgenre.models.frequent_words import FrequentWords
from kgenre.models.fused_log_odds import FusedLogOdds
from kgenre.models.genre_head import GenreHead
from kgenre.models.kernel_layers import Conv2D, Dropout, MaxPooling2D
from kgenre.models.linear_subwords import LinearSubwords
from kgenre.models.linear_words import LinearWords
from kgenre.models.masked_pooling import MaskedPooling
from kgenre.models.residual_block import ResidualBlock
from kgenre.models.word_dropout import WordDropout
from kgenre.models.word_vectors import WordVectors

__all__ = [
    "Bidirectional",
    "ColoursAndLayout",
    "Conv2D",
    "Dropout",
    "EvidenceSum",
    "FrequentWords",
    "FusedLogOdds",
    "GenreHead",
    "LinearSubwords",
    "LinearWords",
    "MaskedPooling",
    "MaxPooling2D",
    "ResidualBlock",
    "WordDropout",
    "WordVectors",
]
