#!/bin/sh
# What share of small faults do the tests notice? scripts/mutants.sh [--seed N] [--count N] [--files PATTERN ...] [--dry]
cd "$(dirname "$0")/.." || exit
export DINOIR_PLUGIN_AUTOLOAD=0 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python}" scripts/mutants.py "$@"
