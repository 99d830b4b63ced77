"""Weather made by formula. For training where no pairs can be had, and for tests; not a stand-in for real weather."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import cv2
import numpy as np

from dinoir_plugin.data.degradation_base import Context, Degradation, Draw, Quantise, Range, Within, quantised
from dinoir_plugin.imaging.decoding import FloatArray


class RainStreaks(Degradation):
    """Add synthetic rain streaks: random drops, drawn out into lines by motion blur, laid over the image.

    The additive streak layer that most derain sets were made with (Li et al., CVPR 2016; Yang et al., Rain100L/H,
    CVPR 2017). It has no far rain mist, no depth and no lens drops: use paired images where you have them.

    Args:
        angle: Lean of the streaks in degrees, 0 falls straight down, positive leans to the right at the foot;
            within [-90, 90]. All streaks of an image lean alike. Each argument may be a number, ``[from, to]`` or
            ``{choices: [...]}``, one draw an image.
        length: Length of a streak in pixels, at least 1.
        density: Drops to a pixel, in [0, 1].
        strength: Brightness of a streak's middle, in [0, 1]; the drops of an image vary between half and all of it.
        width: Standard deviation across a streak in pixels, above 0.
        blend: ``screen`` is ``1 - (1 - image)(1 - rain)``, which keeps bright parts from burning out; ``add`` is the
            plain sum, clipped.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        angle: Annotated[Range, Within(-90, 90)] = (-30, 30),
        length: Annotated[Range, Within(1, 200)] = (10, 30),
        density: Annotated[Range, Within(0, 1)] = (0.001, 0.005),
        strength: Annotated[Range, Within(0, 1)] = (0.2, 0.6),
        width: Annotated[Range, Within(0, 20, above_low=True)] = (0.6, 1.0),
        blend: Literal['screen', 'add'] = 'screen',
        quantise: Quantise = 'round',
    ) -> None:
        self.angle = Draw(angle)
        self.length = Draw(length)
        self.density = Draw(density)
        self.strength = Draw(strength)
        self.width = Draw(width)
        self.blend = blend
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Lay streaks over the image; see `Degradation.apply`. Range [0, 1]."""
        rain = self.layer(image.shape[0], image.shape[1], rng)[..., None]
        wet = image + rain if self.blend == 'add' else 1 - (1 - image) * (1 - rain)
        wet = np.clip(wet, 0, 1)
        return quantised(wet, self.quantise)

    def layer(self, height: int, width: int, rng: np.random.Generator) -> FloatArray:
        """Draw the streaks alone: float32, shape (height, width), range [0, 1]."""
        angle, length, density, strength, spread = (
            draw(rng) for draw in (self.angle, self.length, self.density, self.strength, self.width)
        )
        kernel = streak_kernel(angle, length, spread)
        # Drops outside the image reach into it: without this frame the rain would thin out at the borders.
        reach = kernel.shape[0] // 2
        shape = (height + 2 * reach, width + 2 * reach)
        drops = np.zeros(shape, np.float32)
        count = rng.binomial(shape[0] * shape[1], density)
        places = rng.integers(0, drops.size, count)
        drops.flat[places] = strength * rng.uniform(0.5, 1, count)
        streaks = cv2.filter2D(drops, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        return np.clip(streaks[reach:reach + height, reach:reach + width], 0, 1)


def streak_kernel(angle: float, length: float, width: float) -> FloatArray:
    """Draw one drop in motion.

    Args:
        angle: Degrees from straight down, positive to the right at the foot.
        length: Pixels.
        width: Standard deviation across, in pixels.

    Returns:
        float32, square with an odd side, 1 along the middle of the line, falling off as a Gaussian beyond it.
    """
    reach = math.ceil(length / 2 + 3 * width)
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1].astype(np.float32)
    lean = math.radians(angle)
    along = x * math.sin(lean) + y * math.cos(lean)
    across = x * math.cos(lean) - y * math.sin(lean)
    beyond = np.maximum(np.abs(along) - length / 2, 0)
    return np.exp(-(across**2 + beyond**2) / (2 * width**2)).astype(np.float32)


class Snow(Degradation):
    """Add falling flakes: white discs with soft borders, near and far, laid over the image.

    In the manner of Snow100K (Liu et al., DesnowNet, IEEE TIP 2018), whose flakes are drawn by hand. It has no haze and
    no snow on the ground.

    Args:
        size: Largest radius of a flake in pixels, in [1, 100]; the flakes of an image vary between a third and all of
            it. Each argument may be a number, ``[from, to]`` or ``{choices: [...]}``, one draw an image.
        density: Flakes to a pixel, in [0, 0.1].
        strength: Whiteness of a flake's middle, in [0, 1]; the flakes of an image vary between half and all of it.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        size: Annotated[Range, Within(1, 100)] = (3, 6),
        density: Annotated[Range, Within(0, 0.1)] = (0.001, 0.003),
        strength: Annotated[Range, Within(0, 1)] = (0.7, 1.0),
        quantise: Quantise = 'round',
    ) -> None:
        self.size = Draw(size)
        self.density = Draw(density)
        self.strength = Draw(strength)
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Lay flakes over the image; see `Degradation.apply`. Range [0, 1]."""
        snow = self.layer(image.shape[0], image.shape[1], rng)[..., None]
        return quantised(image * (1 - snow) + snow, self.quantise)

    def layer(self, height: int, width: int, rng: np.random.Generator) -> FloatArray:
        """Draw the flakes alone: float32, shape (height, width), range [0, 1]."""
        size, density, strength = self.size(rng), self.density(rng), self.strength(rng)
        # flakes outside the image reach into it, as drops do
        frame = math.ceil(size)
        count = rng.binomial((height + 2 * frame) * (width + 2 * frame), density)
        middles = rng.uniform(-frame, (width + frame, height + frame), (count, 2))
        layer = np.zeros((height, width), np.float32)
        for middle, radius, white in zip(middles, size * rng.uniform(1 / 3, 1, count), rng.uniform(0.5, 1, count)):
            # OpenCV takes sixteenths of a pixel
            place = int(16 * middle[0]), int(16 * middle[1])
            cv2.circle(layer, place, int(16 * radius), strength * white, cv2.FILLED, cv2.LINE_8, 4)
        return np.asarray(cv2.GaussianBlur(layer, (0, 0), size / 6), np.float32)


class Raindrops(Degradation):
    """Put drops on a pane before the camera: each shows what is around it, small and upside down, as a lens does.

    Real drops have all shapes, and the camera's focus lies behind them (Qian et al., RainDrop, CVPR 2018).

    Args:
        size: Largest radius of a drop in pixels, in [2, 200]; the drops of an image vary between half and all of it.
            Each argument may be a number, ``[from, to]`` or ``{choices: [...]}``, one draw an image.
        density: Drops to a pixel, in [0, 0.01].
        zoom: How much smaller the scene is in a drop, from 1 to 20.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    def __init__(
        self,
        size: Annotated[Range, Within(2, 200)] = (8, 20),
        density: Annotated[Range, Within(0, 0.01)] = (0.0002, 0.0006),
        zoom: Annotated[Range, Within(1, 20)] = (2, 5),
        quantise: Quantise = 'round',
    ) -> None:
        self.size = Draw(size)
        self.density = Draw(density)
        self.zoom = Draw(zoom)
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Put drops before the image; see `Degradation.apply`. Range as of the image."""
        height, width = image.shape[:2]
        size, density, zoom = self.size(rng), self.density(rng), self.zoom(rng)
        count = rng.binomial(height * width, density)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        cover, from_x, from_y = np.zeros_like(x), x.copy(), y.copy()
        for middle, radius in zip(rng.uniform(0, 1, (count, 2)) * (width, height), size * rng.uniform(0.5, 1, count)):
            left, top = (max(0, int(place - radius)) for place in middle)
            right, bottom = (int(place + radius) + 2 for place in middle)
            inside = slice(top, bottom), slice(left, right)
            across, down = x[inside] - np.float32(middle[0]), y[inside] - np.float32(middle[1])
            # to the border of the drop, which is a quarter of its radius wide
            depth = np.clip(4 * (1 - np.hypot(across, down) / radius), 0, 1)
            cover[inside] = np.maximum(cover[inside], depth)
            from_x[inside] = np.where(depth > 0, middle[0] - zoom * across, from_x[inside])
            from_y[inside] = np.where(depth > 0, middle[1] - zoom * down, from_y[inside])
        small = cv2.GaussianBlur(image, (0, 0), zoom / 2)
        seen = cv2.remap(small, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        cover = cover[..., None]
        return quantised(np.asarray(image * (1 - cover) + seen * cover, np.float32), self.quantise)


class Haze(Degradation):
    """Add homogeneous haze by the atmospheric scattering model (Koschmieder; Narasimhan and Nayar, IJCV 2002).

    ``I = J t + A (1 - t)`` with ``t = exp(-beta d)``: J is the clean image, A the airlight, d the distance divided
    by the largest one in the image, so beta is the optical depth of the farthest point. The defaults are those of
    RESIDE's indoor set (Li et al., IEEE TIP 2019). The distance comes from the task's ``dataroot_depth``; without one
    it is made up (`depth.made_up_depth`) and has nothing to do with the scene.

    Args:
        beta: Optical depth, at least 0; a number or ``[from, to]``, one draw an image.
        airlight: A, grey, in [0, 1]; a number or ``[from, to]``, one draw an image.
        quantise: How the result becomes 8 bits: ``round``, ``truncate`` or ``none``, as for noise.
    """

    wants_depth = True

    def __init__(
        self,
        beta: Annotated[Range, Within(0)] = (0.6, 1.8),
        airlight: Annotated[Range, Within(0, 1)] = (0.7, 1.0),
        quantise: Quantise = 'round',
    ) -> None:
        self.beta = Draw(beta)
        self.airlight = Draw(airlight)
        self.quantise = quantise

    def apply(self, image: FloatArray, rng: np.random.Generator, context: Context) -> FloatArray:
        """Add haze; see `Degradation.apply`. Range [0, 1].

        Raises:
            ValueError: The context has no depth.
        """
        if context.depth is None:
            raise ValueError('haze: expected a depth map in the context, got none')
        beta, airlight = np.float32(self.beta(rng)), np.float32(self.airlight(rng))
        transmission = np.exp(-beta * context.depth)[..., None]
        hazy = image * transmission + airlight * (1 - transmission)
        return quantised(hazy, self.quantise)
