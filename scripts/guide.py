"""The images of docs/restore.md, made from the quickstart's photographs with the quickstart's network.

python scripts/guide.py                        after `make quickstart`
python scripts/guide.py --checkpoint NET.pth --out docs
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.imaging.image_file import DecodedImage
from dinoir_plugin.restore.comparison import comparison
from dinoir_plugin.restore.restorer import Restorer

CHECKPOINT = Path('experiments/dinoir_quickstart/models/net_g_latest.pth')
NOISE = 25
# of a photograph that the quickstart does not train on
CROP = (slice(0, 400), slice(0, 512))
PORT = 7861


def main() -> None:
    """Write the before/after image, and a screenshot of the web page where there is a browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', type=Path, default=CHECKPOINT)
    parser.add_argument('--out', type=Path, default=Path('docs'))
    parser.add_argument('--browser', help='path of a Chromium, for the screenshot of the web page')
    args = parser.parse_args()
    clean = data.astronaut()[CROP]
    noise = np.random.default_rng(0).normal(0, NOISE, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    restored = Restorer.from_checkpoint(args.checkpoint).restore(noisy)
    print(f'PSNR: {cv2.PSNR(clean, noisy):.2f} dB before, {cv2.PSNR(clean, restored):.2f} dB after')
    args.out.mkdir(parents=True, exist_ok=True)
    write_atomic(args.out / 'restore.jpg', comparison(DecodedImage(noisy), DecodedImage(restored)))
    if args.browser:
        screenshot(args.browser, args.checkpoint, noisy, args.out / 'demo.png')


def screenshot(browser: str, checkpoint: Path, image: np.ndarray, path: Path) -> None:
    """Write a screenshot of the web page with a restored image."""
    from playwright.sync_api import sync_playwright

    from dinoir_plugin.restore.demo import build_page

    page = build_page([str(checkpoint)], None, 'cpu', 24)
    page.queue().launch(server_port=PORT, prevent_thread_lock=True, quiet=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        upload = Path(folder, 'holiday.png')
        Image.fromarray(image).save(upload)
        tab = playwright.chromium.launch(executable_path=browser, args=['--no-sandbox']).new_page(
            viewport={'width': 1100, 'height': 720}
        )
        tab.goto(f'http://127.0.0.1:{PORT}')
        tab.set_input_files('input[type=file]', upload)
        tab.get_by_text('holiday').first.wait_for()
        tab.get_by_role('button', name='Restore', exact=True).click()
        tab.locator('a[download="holiday_restored.png"]').wait_for()
        tab.wait_for_timeout(1500)
        tab.screenshot(path=path)
    page.close()


if __name__ == '__main__':
    main()
