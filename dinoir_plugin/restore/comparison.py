"""The image before and after, side by side."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dinoir_plugin.imaging.decoding import Array
from dinoir_plugin.imaging.image_file import DecodedImage

LONGEST = 1600
GAP = 8
HEADER = 34
QUALITY = 92


def comparison(before: DecodedImage, after: DecodedImage) -> bytes:
    """Put both into one JPEG, 8 bits, each at most LONGEST pixels a side; transparency is not shown."""
    panels = [_panel(image) for image in (before, after)]
    width, height = panels[0].size
    canvas = Image.new('RGB', (2 * width + GAP, height + HEADER), 'white')
    draw = ImageDraw.Draw(canvas)
    for number, (panel, title) in enumerate(zip(panels, ('before', 'after'))):
        left = number * (width + GAP)
        canvas.paste(panel, (left, HEADER))
        draw.text((left + 4, 4), title, fill='black', font=ImageFont.load_default(20))
    stream = io.BytesIO()
    canvas.save(stream, 'JPEG', quality=QUALITY, subsampling=0, **({'icc_profile': after.icc} if after.icc else {}))
    return stream.getvalue()


def _panel(image: DecodedImage) -> Image.Image:
    panel = Image.fromarray(eight_bits(image.pixels)).convert('RGB')
    panel.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return panel


def eight_bits(pixels: Array) -> Array:
    """Give the pixels of a :class:`DecodedImage` as uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    scale = 255 if pixels.dtype == np.float32 else 255 / 65535
    return np.rint(pixels * np.float32(scale)).astype(np.uint8)
