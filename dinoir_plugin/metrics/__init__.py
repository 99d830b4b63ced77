"""Metrics beside BasicSR's own: the all-in-one papers' PSNR and SSIM, LPIPS, DISTS and FID.

``functional/`` holds them as functions of arrays and tensors. Files that end in ``_metric.py`` register them as BasicSR
calls a metric: two images (H, W, 3), BGR, uint8, and options, to a number.
"""
