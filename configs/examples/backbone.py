"""A poster network on a backbone from `keras.applications`: first the new layers are trained, then everything.

See configs/README.md for the command.
"""

import keras
from keras import layers


def mobilenet(genres, image_size, pretrained=True, weights="imagenet", dropout=0.3):
    """Build MobileNetV3Small with a genre layer on top.

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels, 32 or more.
        pretrained: True for a new network, False if weights will be loaded from a checkpoint; kgenre passes it.
        weights: "imagenet", which Keras downloads once; a file with weights; or None for random ones.
        dropout: share of the backbone's outputs that is dropped in training.

    Returns:
        A Keras model: "poster" float32 (B, H, W, 3), pixels from 0 to 1 -> float32 (B, genres), probabilities.
    """
    poster = keras.Input((*image_size, 3), name="poster")
    x = layers.Rescaling(255.0)(poster)  # MobileNetV3 takes pixels from 0 to 255 and scales them itself
    backbone = keras.applications.MobileNetV3Small(
        input_shape=(*image_size, 3),
        include_top=False,
        pooling="avg",
        weights=weights if pretrained else None,
        name="backbone",
    )
    x = backbone(x, training=False)  # its BatchNormalization keeps its pretrained statistics
    x = layers.Dropout(dropout)(x)
    return keras.Model(poster, layers.Dense(genres, activation="sigmoid")(x), name="mobilenet")
