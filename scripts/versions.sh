#!/usr/bin/env bash
# Run the tests over versions of Python and torch, each in a clone of the last commit with an environment of its own.
#
#   scripts/versions.sh                                  this Python, each file of constraints/
#   scripts/versions.sh -p python3.10 -p python3.12      each of these, each file of constraints/
#   scripts/versions.sh -c constraints/torch-2.11.txt    this Python, that file alone
#   scripts/versions.sh ... -- tests/guidance -k psf     what pytest is to run, instead of all
#
# Writes a line for each pair as it ends, to the terminal and to benchmarks/versions.md, and ends with 1 if a test failed.
# A pair takes about 6 GB of disk for torch and, on two cores, half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

pythons=()
constraints=()
while getopts 'p:c:' option; do
    case $option in
        p) pythons+=("$OPTARG") ;;
        c) constraints+=("$(realpath "$OPTARG")") ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ ${#pythons[@]} = 0 ]; then pythons=(python3); fi
if [ ${#constraints[@]} = 0 ]; then constraints=("$PWD"/constraints/*.txt); fi

table=benchmarks/versions.md
if [ ! -e "$table" ]; then
    printf '%s\n' '# The tests over versions' '' 'By `scripts/versions.sh`.' '' \
        '| Python | torch | torchvision | result | pytest said | commit | tests |' '|---|---|---|---|---|---|---|' >"$table"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# Give the versions that were installed, as cells of a table.
installed() {
    .venv/bin/python -c 'import platform, torch, torchvision
print(platform.python_version(), torch.__version__.split("+")[0], torchvision.__version__.split("+")[0], sep=" | ")'
}

for python in "${pythons[@]}"; do
    for constraint in "${constraints[@]}"; do
        rm -rf "$work/tree"
        git clone --quiet . "$work/tree"
        commit=$(git -C "$work/tree" rev-parse --short HEAD)
        log=$PWD/versions_$(basename "$python")_$(basename "$constraint" .txt).log
        echo "$python, $(basename "$constraint"): installing and testing, see $log"
        (
            cd "$work/tree"
            make .venv/installed PYTHON="$python" CONSTRAINTS="$constraint" >"$log" 2>&1 || exit 1
            .venv/bin/python -m pytest --numprocesses auto "$@" >>"$log" 2>&1 || exit 1
        ) && result=passed || { result=failed; failed=1; }
        versions=$(cd "$work/tree" && installed 2>/dev/null) || versions="$python | not installed | "
        line="| $versions | $result | $(tail -n 1 "$log" | tr -d '=' | tr '|' '/') | $commit | ${*:-all} |"
        echo "$line"
        echo "$line" >>"$table"
    done
done
exit $failed
