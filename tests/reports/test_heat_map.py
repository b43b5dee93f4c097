"""A heat map is drawn where the network saw what it marks."""

import numpy as np
import pytest
from PIL import Image

from kgenre.data import read_poster
from kgenre.reports.heat_map import draw_heat

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("resize", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (200, 200), (290, 40), (100, 150)])
def test_heat_is_where_the_network_saw_the_bright_spot(resize, size):
    """The network's input itself as the heat map: what is bright on the poster becomes orange, and nothing else."""
    height, width = size
    poster = np.zeros((height, width, 3), np.uint8)
    rows, columns = (slice(length * 2 // 5, length * 3 // 5) for length in size)
    poster[rows, columns] = 255
    heat = read_poster(poster, (64, 64), resize)[..., 0] / 255
    drawn = np.asarray(draw_heat(Image.fromarray(poster), heat, (64, 64), resize)).astype(int)
    assert drawn.shape == poster.shape
    orange = drawn[..., 0] - drawn[..., 2] > 40
    bright = np.zeros(size, bool)
    bright[rows, columns] = True
    assert (orange & bright).sum() / (orange | bright).sum() > 0.6, "as far as the coarse map can show"


def test_what_was_cut_off_stays_cold():
    drawn = np.asarray(draw_heat(Image.new("RGB", (100, 300)), np.ones((4, 4)), (64, 64), "crop")).astype(int)
    orange = (drawn[..., 0] - drawn[..., 2] > 40).all(axis=1)
    assert orange[105:195].all()
    assert not orange[:95].any()
    assert not orange[205:].any()
