"""Posters of sample films: colours, a motif and lettering that depend on the genres, with noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kgenre.data.sample.genres import SHARES, pick

SIZE = (200, 300)  # width, height
# How often colours and motif follow one of the film's own genres; otherwise the genre is random, and may mislead.
OWN_COLOURS, OWN_MOTIF = 0.78, 0.78

Colour = tuple[int, int, int]
# Upper colour, lower colour, and the colour of motif and lettering.
PALETTES: dict[str, tuple[Colour, Colour, Colour]] = {
    "Drama": ((96, 112, 128), (190, 182, 164), (44, 44, 52)),
    "Comedy": ((255, 236, 110), (250, 246, 224), (226, 60, 50)),
    "Action": ((236, 120, 24), (60, 20, 8), (255, 214, 80)),
    "Horror": ((14, 8, 10), (58, 4, 6), (206, 16, 20)),
    "Romance": ((248, 190, 206), (255, 236, 226), (214, 40, 96)),
    "Animation": ((70, 190, 250), (130, 220, 90), (255, 110, 190)),
    "Sci-Fi": ((6, 12, 58), (40, 70, 170), (120, 240, 250)),
    "Crime": ((30, 30, 30), (104, 104, 104), (236, 236, 236)),
    "Thriller": ((8, 52, 56), (16, 20, 28), (156, 208, 190)),
    "Western": ((232, 170, 90), (150, 84, 36), (84, 38, 14)),
}
# Where the title stands (0 = top, 1 = bottom) and how large it is, in pixels.
LETTERING = {
    "Drama": (0.86, 17), "Comedy": (0.04, 30), "Action": (0.78, 28), "Horror": (0.72, 26), "Romance": (0.08, 20),
    "Animation": (0.05, 28), "Sci-Fi": (0.10, 18), "Crime": (0.80, 22), "Thriller": (0.45, 18), "Western": (0.06, 24),
}  # fmt: skip


def draw_poster(rng: np.random.Generator, genres: tuple[str, ...], title: str) -> Image.Image:
    """Draw an RGB poster of 200 x 300 pixels."""
    # Colours usually follow the main genre and the motif the last one: two different cues.
    colours = genres[0] if rng.random() < OWN_COLOURS else pick(rng, tuple(SHARES))
    motif = genres[-1] if rng.random() < OWN_MOTIF else pick(rng, tuple(SHARES))
    upper, lower, ink = (_vary(rng, colour) for colour in PALETTES[colours])
    poster = _gradient(upper, lower)
    draw = ImageDraw.Draw(poster)
    x, y, r = int(rng.integers(70, 131)), int(rng.integers(110, 181)), int(rng.integers(42, 64))
    _draw_motif(draw, rng, motif, x, y, r, ink)
    place, size = LETTERING[motif if rng.random() < 0.5 else colours]
    _letter(draw, title, round(place * SIZE[1]) + int(rng.integers(-6, 7)), size, ink)
    return poster


def _vary(rng: np.random.Generator, colour: Colour) -> Colour:
    light = int(rng.integers(-24, 25))
    red, green, blue = (int(np.clip(c + light + rng.integers(-18, 19), 0, 255)) for c in colour)
    return red, green, blue


def _gradient(upper: Colour, lower: Colour) -> Image.Image:
    width, height = SIZE
    step = np.arange(height)[:, None]
    column = (np.array(upper) * (height - 1 - step) + np.array(lower) * step) // (height - 1)
    return Image.fromarray(np.broadcast_to(column[:, None], (height, width, 3)).astype(np.uint8))


def _draw_motif(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, genre: str, x: int, y: int, r: int, ink: Colour
) -> None:
    box = (x - r, y - r, x + r, y + r)
    match genre:
        case "Drama":  # a head and shoulders
            draw.ellipse((x - r // 2, y - r, x + r // 2, y + r // 4), fill=ink)
            draw.pieslice((x - r, y + r // 3, x + r, y + 3 * r), 180, 360, fill=ink)
        case "Comedy":  # a laughing face
            draw.ellipse(box, fill=(255, 220, 40), outline=ink, width=4)
            draw.ellipse((x - r // 2, y - r // 2, x - r // 4, y - r // 5), fill=(20, 20, 20))
            draw.ellipse((x + r // 4, y - r // 2, x + r // 2, y - r // 5), fill=(20, 20, 20))
            draw.chord((x - r // 2, y - r // 3, x + r // 2, y + r // 2), 10, 170, fill=(150, 20, 20))
        case "Action":  # an explosion
            rays = [(0, -8), (2, -3), (6, -6), (3, -2), (8, 0), (3, 2), (6, 6), (2, 3)]
            rays += [(-a, -b) for a, b in rays]
            star = [(x + a * r // 6, y + b * r // 6) for a, b in rays]
            draw.polygon(star, fill=(255, 230, 60), outline=(220, 40, 0), width=5)
        case "Horror":  # dripping blood
            for i in range(9):
                left, length = i * 23, int(rng.integers(30, 150))
                draw.rectangle((left, 0, left + 9, length), fill=(170, 0, 8))
                draw.ellipse((left - 2, length - 7, left + 11, length + 9), fill=(170, 0, 8))
        case "Romance":  # a heart
            half = r // 2
            draw.ellipse((x - r, y - r, x, y), fill=(226, 30, 80))
            draw.ellipse((x, y - r, x + r, y), fill=(226, 30, 80))
            draw.polygon([(x - r + 4, y - half + 10), (x + r - 4, y - half + 10), (x, y + r)], fill=(226, 30, 80))
        case "Animation":  # balloons
            for colour in ((255, 60, 60), (60, 120, 255), (255, 200, 0), (60, 200, 80), (200, 80, 240)):
                a, b, s = int(rng.integers(10, 190)), int(rng.integers(50, 230)), int(rng.integers(18, 34))
                draw.ellipse((a - s, b - s, a + s, b + s), fill=colour)
        case "Sci-Fi":  # a planet with a ring, stars
            for _ in range(40):
                a, b = int(rng.integers(200)), int(rng.integers(300))
                draw.rectangle((a, b, a + 1, b + 1), fill=(255, 255, 255))
            draw.ellipse(box, fill=(40, 160, 220))
            draw.ellipse((x - 2 * r, y - r // 4, x + 2 * r, y + r // 4), outline=(240, 250, 255), width=5)
        case "Crime":  # bars
            for left in range(14, 200, 32):
                draw.rectangle((left, 40, left + 9, 260), fill=(12, 12, 12))
        case "Thriller":  # a target
            for i, part in enumerate((r, r * 3 // 4, r // 2, r // 4)):
                draw.ellipse((x - part, y - part, x + part, y + part), fill=(10, 14, 18) if i % 2 else ink)
        case "Western":  # the sun over a mesa
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(250, 220, 90))
            mesa = [(0, 300), (0, 220), (60, 220), (80, 260), (130, 260), (150, 205), (200, 205), (200, 300)]
            draw.polygon(mesa, fill=(110, 48, 20))


def _letter(draw: ImageDraw.ImageDraw, title: str, top: int, size: int, ink: Colour) -> None:
    font = _font(size)
    lines, line = [], ""
    for word in title.upper().split():
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font) > SIZE[0] - 16:
            lines.append(line)
            longer = word
        line = longer
    edge = (0, 0, 0) if sum(ink) > 380 else (255, 255, 255)  # legible on any motif
    for i, text in enumerate([*lines, line]):
        left = (SIZE[0] - draw.textlength(text, font)) // 2
        draw.text((left, top + i * (size + 2)), text, fill=ink, font=font, stroke_width=1, stroke_fill=edge)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
