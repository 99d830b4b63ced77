"""Metrics beside BasicSR's own: the all-in-one papers' PSNR and SSIM, LPIPS, DISTS and FID.

Each file ends in ``_metric.py`` to register. What :mod:`dinoir_plugin.metrics.measures` knows of a metric stands in
attributes of the function.
"""
