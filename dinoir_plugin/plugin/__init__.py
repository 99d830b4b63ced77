"""Set up the plugin when BasicSR is imported, and hook into its runs."""
