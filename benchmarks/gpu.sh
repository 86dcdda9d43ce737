#!/usr/bin/env bash
# Everything that wants a CUDA device, in one command of under ten minutes: the tests marked gpu, what watching and
# reporting cost, and the two arms of the article on BERT-base. Prints one table at the end, and keeps it.
#
#     bash benchmarks/gpu.sh [RESULTS]
#
# RESULTS (benchmarks/results) is where the tables go. PYTHON says which interpreter; it needs sweeper's packages.
set -uo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
results="${1:-benchmarks/results}"
work="$(mktemp -d)"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
mkdir -p "$results"

"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || {
    echo "benchmarks/gpu.sh: expected a CUDA device that torch can use, found none" >&2
    exit 2
}

part() { # part NAME SECONDS COMMAND...: run a command under a limit, keep its output, note how it ended
    local name="$1" limit="$2" begin="$SECONDS"
    shift 2
    echo "== $name"
    timeout "$limit" "$@" 2>&1 | tee "$work/$name.log"
    local code="${PIPESTATUS[0]}"
    echo "$name|$([ "$code" = 0 ] && echo passed || echo "exit code $code")|$((SECONDS - begin)) s" >>"$work/parts"
}

gpu="$("$python" -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))')"
part tests 120 "$python" -m pytest -q -m gpu tests/gpu -p no:cacheprovider
part watch 150 "$python" benchmarks/watch.py --save "watch-$gpu"
part report 60 "$python" benchmarks/report.py --save "report-$gpu"
part arms 240 "$python" -m sweeper.cli run experiments/warmup.yaml --profile gpu --runs "$work/runs" --workers 2 \
    'parameters.lr.values=[1e-4]' early_stop.rules=[]
part backtest 30 "$python" -m sweeper.cli backtest "$work/runs/warmup" --trials
if [ "$results" != benchmarks/results ]; then
    cp "benchmarks/results/watch-$gpu.md" "benchmarks/results/report-$gpu.md" "$results/" || true
fi

{
    echo "# Everything that wants a GPU"
    echo
    echo "    bash benchmarks/gpu.sh"
    echo
    "$python" -c 'from benchmarks.machine import description; print(description())'
    echo
    echo "| part | ended | took |"
    echo "|---|---|---|"
    sed 's/|/ | /g; s/^/| /; s/$/ |/' "$work/parts"
    for name in tests watch report backtest; do
        printf '\n## %s\n\n```\n%s\n```\n' "$name" "$(tail -40 "$work/$name.log")"
    done
} | tee "$results/gpu-$gpu.md"
! grep -q "exit code" "$work/parts"
