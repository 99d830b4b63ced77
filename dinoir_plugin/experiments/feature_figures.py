"""The paper's figures of an encoder's features: how much of a degradation is left in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skimage import data

from dinoir_plugin.data.degradations import GaussianBlur, GaussianNoise, RainStreaks
from dinoir_plugin.experiments import published
from dinoir_plugin.experiments.features import Curves, Probe, change, degrade, over_noise, principal
from dinoir_plugin.experiments.figure_style import new_figure, save, show, stroke
from dinoir_plugin.imaging.decoding import Array

PHOTOGRAPHS = ('astronaut', 'chelsea', 'coffee', 'rocket')  # come with scikit-image, without a download
SIGMAS = tuple(range(5, 51, 5))  # of 255
HEAVY_RAIN = RainStreaks(angle=15, length=30, density=0.004, strength=0.8, width=1.0)
LIGHT_RAIN = RainStreaks(angle=15, length=15, density=0.0015, strength=0.6, width=0.8)


def photograph(name: str) -> Array:
    """Load one of scikit-image's colour photographs: (H, W, 3), uint8, RGB."""
    return getattr(data, name)()


def fig3a(encoder: Mapping[str, Any], out: Path, photo: Array | None = None) -> None:
    """Draw fig. 3(a): what the encoder's deepest level makes of one photograph, clean and degraded.

    Above, the photograph clean, under synthetic rain streaks, noise of 50/255 and Gaussian blur of 3 pixels. Below, the
    first three principal components of the ``deep`` features as red, green and blue: one basis, one mean and one scale
    for all four (see :func:`principal`), each square one cell of the encoder's grid. Under each degraded image and
    map stands its change from the clean one, see :func:`change`; it is of all channels, not of the three shown.

    Args:
        encoder: Options as under ``network_g.encoder``, with a level ``deep``.
        out: The PNG file.
        photo: (H, W, 3), uint8, RGB; None: scikit-image's astronaut.
    """
    probe = Probe(encoder)
    clean = probe.cropped(photograph(PHOTOGRAPHS[0]) if photo is None else photo)
    ways = {
        'rain': RainStreaks(15, 20, 0.003, 0.6, 0.8),
        'noise, σ = 50/255': GaussianNoise(50),
        'blur, σ = 3 px': GaussianBlur(15, 3),
    }
    images = {'clean': clean, **{name: degrade(clean, way) for name, way in ways.items()}}
    seen = {name: probe(shown) for name, shown in images.items()}
    found = principal([features['deep'] for features in seen.values()])
    share = found.explained.sum().item()
    caption = (
        'Top: the image. Bottom: the first three principal components of the deep features '
        f'(layer {probe.levels["deep"]}) as red, green, blue; one basis and scale for all four maps, {share:.0%} of '
        'their variance. Change: ‖F(degraded) − F(clean)‖ / ‖F(clean) − its mean‖ over all channels (top: F is the '
        'image itself); 0 is none.'
    )
    figure = new_figure(6.1, f'Deep features of degraded images\n{probe.text}', caption)
    axes = figure.subplots(2, len(images))
    for column, (name, features) in enumerate(seen.items()):
        changes = [change(seen['clean'][key], features[key]) for key in ('image', 'deep')]
        show(axes[0, column], images[name], name, f'change {changes[0]:.2f}')
        show(axes[1, column], found.maps[column], below=f'change {changes[1]:.2f}')
    axes[0, 0].set_ylabel('image', fontsize=11)
    axes[1, 0].set_ylabel('deep features', fontsize=11)
    save(figure, out)


def fig3b(
    encoder: Mapping[str, Any], out: Path, images: Sequence[Array] | None = None, sigmas: Sequence[float] = SIGMAS
) -> None:
    """Draw fig. 3(b): how noise shows in the image, in the patch embedding and in the encoder's levels.

    For X the image or a feature map of it, and X_sigma that of the noisy image (see :func:`over_noise`), over sigma:

    - left ``PSNR(sigma) = 10 log10((max X - min X)^2 / MSE(X, X_sigma))`` in dB. Its height depends on the peak, and
      so on single large values of a feature;
    - middle the paper's measure, PSNR at a level minus its mean over the levels, in which the peak cancels; the legend
      gives its variance, and the paper's where it has one (of DINOv2; which level and which sigmas it does not say).
      It is small for features that hardly react to noise, and also for those that the weakest noise has changed beyond
      recognition: random weights can look best here;
    - right what tells these apart, the change ``||X_sigma - X|| / ||X - mean of X||``, see :func:`change`.

    The patch embedding is the output of the first convolution, which is linear in the image: its deviation is the
    image's own, unlike in the paper.

    Args:
        encoder: Options as under ``network_g.encoder``.
        out: The PNG file.
        images: (H, W, 3), uint8, RGB; None: four photographs of scikit-image.
        sigmas: Standard deviations of the noise, of 255, rising.
    """
    probe = Probe(encoder)
    if images is None:
        images = [photograph(name) for name in PHOTOGRAPHS]
    caption = (
        'PSNR(σ) = 10 log₁₀((max X − min X)² / MSE(X, X_σ)) with the clean image or feature X and the noisy X_σ; mean '
        f'over {len(images)} photographs. Var: its variance over σ; "paper" is what DINO-IR prints of DINOv2, whose '
        'level and σ it does not name. In the middle the peak max X − min X cancels; a flat curve there means '
        'insensitive only where the change (right) is small too: at 1 X_σ is as far from X as the mean of X is.'
    )
    figure = new_figure(5.0, f'Image and features under noise\n{probe.text}', caption)
    panels = figure.subplots(1, 3)
    _draw_curves(panels, probe, over_noise(probe, images, sigmas), sigmas)
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside right center', fontsize=9.5, labelspacing=1.2)
    save(figure, out)


def _draw_curves(panels: Any, probe: Probe, all_curves: Mapping[str, Curves], sigmas: Sequence[float]) -> None:
    printed: Mapping[str, float] = published.stability()
    for number, (key, curves) in enumerate(all_curves.items()):
        name = {'image': key, 'first': probe.first}.get(key) or f'{key} (layer {probe.levels[key]})'
        theirs = printed.get(_printed_name(probe, key))
        label = f'{name}\nVar {curves.psnr.var():.2f}{"" if theirs is None else f" (paper {theirs:.2f})"}'
        for axes, values in zip(panels, (curves.psnr, curves.psnr - curves.psnr.mean(), curves.change)):
            axes.plot(sigmas, values, label=label, **stroke(number))
    labels = ('PSNR (dB), peak = max X − min X', 'PSNR(σ) − its mean over σ (dB)',
              'change: ‖X_σ − X‖ / ‖X − mean of X‖')  # fmt: skip
    for axes, label in zip(panels, labels):
        axes.set_title(label, fontsize=10)
        axes.set_xlabel('noise σ (of 255)', fontsize=10)
        axes.grid(alpha=0.3)
    panels[2].set_ylim(bottom=0)


def _printed_name(probe: Probe, key: str) -> str:
    """Say what the paper calls a curve; empty where it has none of this kind."""
    if key == 'image':
        return 'degraded_image'
    if key == 'first':
        return 'patch_embedding_feature' if probe.first == 'patch embedding' else ''
    return 'dino_feature' if 'dinov2' in probe.text else ''


def fig5(encoder: Mapping[str, Any], out: Path, photo: Array | None = None) -> None:
    """Draw fig. 5: what the encoder's shallowest level shows of rain.

    Above, one photograph under heavy, light and no rain (synthetic streaks). Below, the ``shallow`` features as heat
    maps in one scale: in each cell the mean over the channels of ``|F|``. Under each rainy image and map stands its
    change from that without rain, see :func:`change`; it is of all channels.

    Args:
        encoder: Options as under ``network_g.encoder``, with a level ``shallow``.
        out: The PNG file.
        photo: (H, W, 3), uint8, RGB; None: scikit-image's astronaut.
    """
    probe = Probe(encoder)
    clean = probe.cropped(photograph(PHOTOGRAPHS[0]) if photo is None else photo)
    images = {
        'heavy rain': degrade(clean, HEAVY_RAIN), 'light rain': degrade(clean, LIGHT_RAIN), 'no rain': clean,
    }  # fmt: skip
    seen = {name: probe(shown) for name, shown in images.items()}
    maps = {name: features['shallow'].abs().mean(0).numpy() for name, features in seen.items()}
    caption = (
        f'Top: the image. Bottom: the shallow features (layer {probe.levels["shallow"]}), mean of |F| over the '
        'channels, one scale. Change: ‖F(rain) − F(no rain)‖ / ‖F(no rain) − its mean‖ over all channels (top: F is '
        'the image itself); 0 is none.'
    )
    figure = new_figure(7.35, f'Shallow features in the rain\n{probe.text}', caption)
    axes = figure.subplots(2, len(images))
    limits = {'vmin': min(m.min() for m in maps.values()), 'vmax': max(m.max() for m in maps.values())}
    for column, (name, features) in enumerate(seen.items()):
        changes = [change(seen['no rain'][key], features[key]) for key in ('image', 'shallow')]
        show(axes[0, column], images[name], name, f'change {changes[0]:.2f}')
        image = show(axes[1, column], maps[name], below=f'change {changes[1]:.2f}', cmap='cividis', **limits)
    figure.colorbar(image, ax=axes[1, :], shrink=0.8, label='mean |F|')
    save(figure, out)
