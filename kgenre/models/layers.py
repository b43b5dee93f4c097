"""All custom layers of kgenre's networks: importing this module registers them for ``keras.saving.load_model``."""

from kgenre.models.bidirectional import Bidirectional as Bidirectional
from kgenre.models.colours_and_layout import ColoursAndLayout as ColoursAndLayout
from kgenre.models.evidence_sum import EvidenceSum as EvidenceSum
from kgenre.models.frequent_words import FrequentWords as FrequentWords
from kgenre.models.fused_log_odds import FusedLogOdds as FusedLogOdds
from kgenre.models.genre_head import GenreHead as GenreHead
from kgenre.models.kernel_layers import BatchNormalization as BatchNormalization
from kgenre.models.kernel_layers import Conv2D as Conv2D
from kgenre.models.kernel_layers import Dropout as Dropout
from kgenre.models.kernel_layers import MaxPooling2D as MaxPooling2D
from kgenre.models.linear_subwords import LinearSubwords as LinearSubwords
from kgenre.models.linear_words import LinearWords as LinearWords
from kgenre.models.masked_pooling import MaskedPooling as MaskedPooling
from kgenre.models.residual_block import ResidualBlock as ResidualBlock
from kgenre.models.word_dropout import WordDropout as WordDropout
from kgenre.models.word_vectors import WordVectors as WordVectors
