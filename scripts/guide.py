"""The images of README.md and docs/restore.md, made from the quickstart's photographs, network and log.

python scripts/guide.py                        after `make quickstart`
python scripts/guide.py --checkpoint NET.pth --out docs
python scripts/guide.py --browser CHROMIUM     with screenshots of the web page and of TensorBoard
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from dinoir_plugin.cli import main as dinoir
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.imaging.image_file import DecodedImage
from dinoir_plugin.restore.comparison import comparison
from dinoir_plugin.restore.restorer import Restorer

CHECKPOINT = Path('experiments/dinoir_quickstart/models/net_g_latest.pth')
NOISE = 25
# of a photograph that the quickstart does not train on
CROP = (slice(0, 400), slice(0, 512))
PORT = 7861
OPTIONS = Path('options/train_dinoir_quickstart.yml')
TENSORBOARD = Path('tb_logger/dinoir_quickstart')
WAIT = 60  # seconds for TensorBoard to serve


def main() -> None:
    """Write the before/after image and a contact sheet, and screenshots where there is a browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', type=Path, default=CHECKPOINT)
    parser.add_argument('--out', type=Path, default=Path('docs'))
    parser.add_argument('--browser', help='path of a Chromium, for screenshots of the web page and of TensorBoard')
    args = parser.parse_args()
    clean = data.astronaut()[CROP]
    noise = np.random.default_rng(0).normal(0, NOISE, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    restored = Restorer.from_checkpoint(args.checkpoint).restore(noisy)
    print(f'PSNR: {cv2.PSNR(clean, noisy):.2f} dB before, {cv2.PSNR(clean, restored):.2f} dB after')
    args.out.mkdir(parents=True, exist_ok=True)
    write_atomic(args.out / 'restore.jpg', comparison(DecodedImage(noisy), DecodedImage(restored)))
    contact_sheet(args.out / 'contact_sheet.jpg')
    if args.browser:
        screenshot(args.browser, args.checkpoint, noisy, args.out / 'demo.png')
        tensorboard(args.browser, args.out / 'tensorboard.png')


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


def contact_sheet(path: Path) -> None:
    """Write what `dinoir check` shows of the quickstart's tasks."""
    with tempfile.TemporaryDirectory() as folder:
        if dinoir(['check', str(OPTIONS), '--out', folder]):
            raise SystemExit(f'{OPTIONS}: the check found errors. Has `make quickstart` been run?')
        (sheet,) = Path(folder).glob('check_*.png')
        Image.open(sheet).convert('RGB').save(path, quality=90)


def tensorboard(browser: str, path: Path) -> None:
    """Write a screenshot of TensorBoard with the quickstart's log."""
    from playwright.sync_api import sync_playwright

    address = f'http://127.0.0.1:{PORT + 1}'
    words = ['-m', 'tensorboard.main', '--logdir', str(TENSORBOARD), '--port', str(PORT + 1)]
    with sync_playwright() as playwright, subprocess.Popen([sys.executable, *words]) as server:
        try:
            _wait_for(address)
            tab = playwright.chromium.launch(executable_path=browser, args=['--no-sandbox']).new_page(
                viewport={'width': 1200, 'height': 900}
            )
            tab.goto(f'{address}/?tagFilter=heldout%2F%28input_%29%3Fpsnr%7Clr%7Cl_pix%7Cimages#timeseries')
            tab.locator('button', has_text='Settings').first.click()
            tab.wait_for_timeout(6000)
            tab.screenshot(path=path)
        finally:
            server.terminate()


def _wait_for(address: str) -> None:
    """Wait until something is served there."""
    end = time.monotonic() + WAIT
    while True:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


if __name__ == '__main__':
    main()
