"""Image files of every kind, made by other means than ours."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image, ImageCms

CAMERA = 'Camera'
DPI = (300, 150)
PROFILES = {
    'rgb': ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes(),
}
# a profile is told to be one for grey by its header
PROFILES['grey'] = PROFILES['rgb'][:16] + b'GRAY' + PROFILES['rgb'][20:]
CHANNELS = {'grey': 1, 'grey+alpha': 2, 'rgb': 3, 'rgba': 4, 'palette': 3, 'palette+alpha': 4, 'cmyk': 4}
PNG_TYPES = {'grey': 0, 'rgb': 2, 'palette': 3, 'palette+alpha': 3, 'grey+alpha': 4, 'rgba': 6}
SHAPE = (6, 10)


def values(depth, channels):
    """Values of a file of that kind: (6, 10[, C]); for a palette the colours that it stands for."""
    random = np.random.default_rng(3)
    count = CHANNELS[channels]
    shape = SHAPE if count == 1 else (*SHAPE, count)
    if channels.startswith('palette'):
        return palette(channels)[indices(depth)]
    if depth == 1:
        return random.integers(0, 2, shape).astype(np.uint8) * 255
    if depth == 'float':
        return random.random(shape).astype(np.float32)
    return random.integers(0, 1 << depth, shape).astype(f'u{depth // 8}')


def indices(depth):
    return np.random.default_rng(4).integers(0, 2 if depth == 1 else 16, SHAPE).astype(np.uint8)


def palette(channels):
    return np.random.default_rng(5).integers(0, 256, (16, CHANNELS[channels])).astype(np.uint8)


def exif(orientation):
    block = Image.Exif()
    block[274], block[271] = orientation, CAMERA
    return block.tobytes()


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name, content):
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def png(depth, channels, dpi=None, icc=None, orientation=None, exif_last=False, clear=b''):
    """Make a PNG of any depth and type, without a library."""
    pixels = indices(depth) if channels.startswith('palette') else values(depth, channels)
    if depth == 1:
        rows = np.packbits(pixels != 0, axis=1)
    else:
        rows = pixels.reshape(SHAPE[0], -1).astype('>u2' if depth == 16 else np.uint8).view(np.uint8)
    between = [chunk(b'tRNS', clear)] if clear else []
    if channels.startswith('palette'):
        colours = palette(channels)[: 2 if depth == 1 else 16]
        between = [chunk(b'PLTE', colours[:, :3].tobytes())]
        between += [chunk(b'tRNS', colours[:, 3].tobytes())] if channels == 'palette+alpha' else []
    notes = [chunk(b'eXIf', exif(orientation).removeprefix(b'Exif\0\0'))] if orientation else []
    before = [chunk(b'iCCP', b'x\0\0' + zlib.compress(icc))] if icc else []
    before += [chunk(b'pHYs', struct.pack('>IIB', *(round(n / 0.0254) for n in dpi), 1))] if dpi else []
    data = chunk(b'IDAT', zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows)))
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', *SHAPE[::-1], depth, PNG_TYPES[channels], 0, 0, 0))
    parts = [header, *before, *([] if exif_last else notes), *between, data, *(notes if exif_last else [])]
    return b'\x89PNG\r\n\x1a\n' + b''.join([*parts, chunk(b'IEND', b'')])


def pillow(depth, channels):
    """Give the Pillow image of 8 bits or of one; None where there is none."""
    pixels = values(depth, channels)
    if channels.startswith('palette'):
        image = Image.fromarray(indices(depth)).convert('L')
        image.putpalette(palette('palette')[:16].tobytes())
        return image if channels == 'palette' and depth in (1, 8) else None
    if channels == 'cmyk':
        return Image.fromarray(pixels, 'CMYK') if depth == 8 else None
    image = Image.fromarray(pixels) if depth in (1, 8) else None
    return image.convert('1') if depth == 1 and channels == 'grey' else image if depth == 8 else None


def tiff(depth, channels, dpi=None, icc=None, orientation=None):
    image = pillow(depth, channels)
    if image is not None:
        extra = {'exif': exif(orientation)} if orientation else {}
        return saved(image, 'TIFF', icc_profile=icc, **({'dpi': dpi} if dpi else {}), **extra)
    if depth == 1 or channels.startswith('palette'):
        return None
    kind = {'cmyk': 'separated', 'rgb': 'rgb', 'rgba': 'rgb'}.get(channels, 'minisblack')
    stream = io.BytesIO()
    tags = [(274, 'H', 1, orientation, True), (271, 's', 0, CAMERA, True)] if orientation else []
    tifffile.imwrite(
        stream, values(depth, channels), photometric=kind, planarconfig='contig', iccprofile=icc, extratags=tags,
        resolution=dpi, resolutionunit=2 if dpi else None, metadata=None, software=False,
        extrasamples=['unassalpha'] if channels in ('grey+alpha', 'rgba') else None,
    )  # fmt: skip
    return stream.getvalue()


def jpeg(depth, channels, dpi=None, icc=None, orientation=None):
    if depth != 8 or channels not in ('grey', 'rgb', 'cmyk'):
        return None
    extra = {'exif': exif(orientation)} if orientation else {}
    extra.update({'dpi': dpi} if dpi else {})
    return saved(pillow(depth, channels), 'JPEG', quality=100, subsampling=0, icc_profile=icc, **extra)


def webp(depth, channels, dpi=None, icc=None, orientation=None):
    if depth != 8 or channels not in ('rgb', 'rgba'):
        return None
    block = Image.Exif()
    if orientation:
        block.load(exif(orientation))
    if dpi:
        block[282], block[283], block[296] = *dpi, 2
    return saved(pillow(depth, channels), 'WEBP', lossless=True, exact=True, icc_profile=icc, exif=block.tobytes())


def bmp(depth, channels, dpi=None, icc=None, orientation=None):
    image = pillow(depth, channels)
    if icc or orientation or image is None or channels in ('grey+alpha', 'cmyk'):
        return None
    if channels == 'rgba':
        return bmp_with_alpha(dpi)
    return saved(image, 'BMP', **({'dpi': dpi} if dpi else {}))


def bmp_with_alpha(dpi, profile=b''):
    """Make a BMP of version 4 or, with a profile, 5: 32 bits with a mask for alpha, which Pillow does not write."""
    pixels = values(8, 'rgba')[::-1, :, [2, 1, 0, 3]].tobytes()
    across, down = (round(n / 0.0254) for n in dpi or (0, 0))
    size = 124 if profile else 108
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack('<IiiHHIIiiII4I', size, *SHAPE[::-1], 1, 32, 3, len(pixels), across, down, 0, 0, *masks)
    if profile:
        header += b'DEBM' + bytes(36 + 12 + 4) + struct.pack('<III', size + len(pixels), len(profile), 0)
    header = header.ljust(size, b'\0')
    start = 14 + size
    return b'BM' + struct.pack('<IHHI', start + len(pixels) + len(profile), 0, 0, start) + header + pixels + profile


def pnm(depth, channels, dpi=None, icc=None, orientation=None):
    if dpi or icc or orientation or channels not in ('grey', 'rgb') or (depth == 1 and channels == 'rgb'):
        return None
    pixels = values(depth, channels)
    size = f'{SHAPE[1]} {SHAPE[0]}\n'.encode()
    if depth == 1:
        return b'P4\n' + size + np.packbits(pixels == 0, axis=1).tobytes()
    if depth == 'float':
        return (b'Pf\n' if channels == 'grey' else b'PF\n') + size + b'-1.0\n' + pixels[::-1].astype('<f4').tobytes()
    mark = b'P5\n' if channels == 'grey' else b'P6\n'
    white = (1 << depth) - 1
    return mark + size + f'{white}\n'.encode() + pixels.astype('>u2' if depth == 16 else np.uint8).tobytes()


def png_or_none(depth, channels, **notes):
    known = depth in (1, 8) if channels.startswith('palette') else depth in (8, 16) or channels == 'grey'
    return png(depth, channels, **notes) if known and depth != 'float' and channels != 'cmyk' else None


CONTAINERS = {'png': png_or_none, 'jpg': jpeg, 'tif': tiff, 'webp': webp, 'bmp': bmp, 'ppm': pnm}
