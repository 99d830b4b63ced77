"""The web page in a real browser: upload, restore, compare, download, and what it refuses."""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dinoir_plugin import Restorer
from dinoir_plugin.imaging.image_file import read_image

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(BROWSER is None, reason='no Chromium here (Debian: apt-get install chromium)')


@pytest.fixture(scope='module')
def page(checkpoint, tmp_path_factory):
    """The page's address, from a process of its own."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp('demo') / 'log').open('w+')
    words = ['demo', '--checkpoint', str(checkpoint), '--port', str(port), '--max-megapixels', '0.02']
    process = subprocess.Popen([sys.executable, '-m', 'dinoir_plugin', *words], stdout=log, stderr=log)
    address = f'http://127.0.0.1:{port}'
    try:
        for _ in range(240):
            assert process.poll() is None, log.seek(0) or log.read()
            try:
                urllib.request.urlopen(address, timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        yield address
        # Gradio's own lines advise arguments that the command has not
        assert 'share=' not in Path(log.name).read_text()
    finally:
        process.terminate()
        process.wait()
        log.close()


def test_upload_restore_compare_download_and_limits(page, checkpoint, tmp_path, photo):
    from playwright.sync_api import sync_playwright

    Image.fromarray(photo).save(tmp_path / 'holiday.png')
    Image.fromarray(photo).resize((200, 200)).save(tmp_path / 'large.png')
    (tmp_path / 'broken.png').write_text('no image')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=['--no-sandbox'])
        tab = browser.new_page(accept_downloads=True)
        outside = []
        tab.on('request', lambda request: outside.append(request.url) if '127.0.0.1' not in request.url else None)
        tab.goto(page)

        def restore(name):
            if tab.get_by_label('Remove this file').or_(tab.get_by_label('Clear')).count():
                tab.get_by_label('Remove this file').or_(tab.get_by_label('Clear')).first.click()
            tab.set_input_files('input[type=file]', tmp_path / name)
            tab.get_by_text(name.split('.')[0]).first.wait_for()
            tab.get_by_role('button', name='Restore', exact=True).click()

        restore('holiday.png')
        link = tab.locator('a[download="holiday_restored.png"]')
        link.wait_for(timeout=60_000)
        with tab.expect_download() as download:
            link.click()
        download.value.save_as(tmp_path / 'result.png')
        expected = Restorer.from_checkpoint(checkpoint).restore(photo)
        np.testing.assert_array_equal(read_image(tmp_path / 'result.png').pixels, expected)

        # before and after lie on each other, and the handle moves the border between them
        shown = tab.locator('.slider-wrap img, [data-testid="image-slider"] img, img').filter(visible=True)
        assert shown.count() >= 2

        tab.reload()
        restore('large.png')
        tab.get_by_text(re.compile('200x200 is more than the 0.02 megapixels')).first.wait_for(timeout=60_000)
        tab.reload()
        restore('broken.png')
        tab.get_by_text(re.compile('expected an image')).first.wait_for(timeout=60_000)
        browser.close()
    assert not [url for url in outside if not url.startswith(('data:', 'blob:'))]
