#!/usr/bin/env bash
# All GPU measurements, in parts that each write their own JSON and take at most nine minutes (`job` may take longer).
#
#   bash benchmarks/gpu.sh all                 # one part after the other
#   bash benchmarks/gpu.sh cnn_small           # one part; `list` names them
#   OUT=results DEVICE=cpu SMALL=1 bash benchmarks/gpu.sh all      # the same commands, tiny, on a CPU
#
# OUT is the folder for the results (default: benchmarks/results), PYTHON the interpreter with Keras and a backend,
# LIGHTNING the one with torch and Lightning (default: PYTHON), FILMS the films of the part `job` (default: generated
# ones). A throughput part or `job` that is run again on the same day resumes where it stopped.
#
#   ways        ways to compute a step: several in a call, without kgenre's kernels, XLA flags (step_ways.py)
#   parity      losses beside those of a CPU, and a run that moves to the GPU and back (device_parity.py)
#   cnn_small cnn_large lstm_small lstm_large lstm_bf16 ours    films per second of all contestants, the share of the
#               roofline, and what limits a step: the course's networks and kgenre's own (throughput.py)
#   pipeline    the same, fed by the film pipeline; the pipeline alone
#   torch       kgenre's torch backend beside Keras `fit` on it and Lightning
#   job         whole jobs (whole_job.py)
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-benchmarks/results}
PYTHON=${PYTHON:-python3}
LIGHTNING=${LIGHTNING:-$PYTHON}
DEVICE=${DEVICE:-gpu}
MINUTES=${MINUTES:-7.5} # no group is started after this time; the last one takes up to a minute
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$OUT"

small=(--rounds 7 --seconds 0.25)
batches_small="64 256" batches_large="1024 4096 8192"
if [ -n "${SMALL:-}" ]; then
  small=(--steps 2 --rounds 2 --words 8)
  batches_small="2" batches_large="3"
fi

throughput() { # NAME ARGUMENTS...
  local name=$1
  shift
  # shellcheck disable=SC2068
  "$PYTHON" benchmarks/throughput.py --device "$DEVICE" --lightning-python "$LIGHTNING" --minutes "$MINUTES" \
    --profile --output "$OUT/$(date +%F)-$DEVICE-throughput-$name.json" $@ ${small[@]+"${small[@]}"}
}

# Measured on an H200 so far: results/2026-11-28-nvidia-h200-step_ways.json. Newer, and to be measured first (part
# `ways`): the LSTM's loop with fewer kernels per step, and calls with a fixed number of steps. `ways` also tries XLA
# flags: whole steps as one CUDA graph (+CONVOLUTION), loops in it (+WHILE), no autotuning of kernels (with it a first
# step took 12 to 30 s).
cnns="poster_cnn_2024 poster_cnn_2025"
lstms="overview_lstm_cudnn overview_lstm_unmasked overview_lstm"
ours="poster_resnet overview_lstm_pooled"
both="--precision fp32 bf16"

part() {
  case $1 in
    ways)
      local own=("poster_cnn_2024 64 fp32 several=25" "poster_cnn_2024 64 fp32 undonated"
        "poster_cnn_2025 64 fp32 several=25" "overview_lstm 64 fp32" "overview_lstm_cudnn 64 fp32" "overview_lstm_cudnn 1024 fp32" "overview_lstm_cudnn 4096 fp32"
        "overview_lstm_cudnn 4096 bf16" "overview_lstm_unmasked 4096 fp32"
        "overview_lstm_unmasked 4096 fp32 without=masked_lstm" "poster_cnn_2025 4096 bf16"
        "poster_cnn_2025 4096 bf16 without=dropout,max_pooling")
      local flagged=("poster_cnn_2024 64 fp32 several=25" "overview_lstm_cudnn 64 fp32")
      [ -n "${SMALL:-}" ] && own=("overview_lstm 2 fp32 several=2 words=8")
      local ways=("$PYTHON" benchmarks/step_ways.py --output "$OUT/$(date +%F)-$DEVICE-step_ways.json")
      export KERAS_BACKEND=jax XLA_PYTHON_CLIENT_PREALLOCATE=false
      "${ways[@]}" "${own[@]}"
      local flags=("enable_command_buffer=+CONVOLUTION" "autotune_level=0"
        "enable_command_buffer=+CONVOLUTION,+WHILE --xla_gpu_command_buffer_unroll_loops=true")
      for each in "${flags[@]}"; do
        [ -n "${SMALL:-}" ] || XLA_FLAGS="--xla_gpu_$each" "${ways[@]}" "${flagged[@]}" || true
      done ;;
    parity)
      local tiny=()
      [ -n "${SMALL:-}" ] && tiny=(--steps 3 --batch-size 2 --words 6)
      "$PYTHON" benchmarks/device_parity.py --device "$DEVICE" --output "$OUT/$(date +%F)-$DEVICE-parity.json" \
        ${tiny[@]+"${tiny[@]}"} ;;
    cnn_small) throughput "$1" --models $cnns --batch-sizes $batches_small $both ;;
    cnn_large) throughput "$1" --models $cnns --batch-sizes $batches_large $both ;;
    lstm_small) throughput "$1" --models $lstms --batch-sizes $batches_small --precision fp32 ;;
    lstm_large) throughput "$1" --models $lstms --batch-sizes $batches_large --precision fp32 ;;
    lstm_bf16) throughput "$1" --models $lstms --batch-sizes $batches_small $batches_large --precision bf16 ;;
    pipeline) throughput "$1" --models poster_cnn_2024 overview_lstm --batch-sizes $batches_small --precision fp32 \
      --sources pipeline input ;;
    ours) throughput "$1" --models $ours --batch-sizes $batches_small $batches_large $both ;;
    torch) throughput "$1" --models poster_cnn_2024 overview_lstm_cudnn --batch-sizes $batches_small --precision fp32 \
      --backends torch ;;
    job)
      local films=(--samples 10000) epochs=()
      [ -n "${FILMS:-}" ] && films=(--data.path "$FILMS")
      [ -n "${SMALL:-}" ] && films=(--samples 100) epochs=(--trainer.max_epochs 2 --data.min_films 1)
      "$PYTHON" benchmarks/whole_job.py --device "$DEVICE" --output "$OUT/$(date +%F)-$DEVICE-whole_job.json" \
        "${films[@]}" --configs configs/poster_cnn_2024.yaml configs/poster_resnet_colours.yaml ${epochs[@]+"${epochs[@]}"} ;;
    *)
      echo "Parts: $parts. Received: $1" >&2
      exit 2 ;;
  esac
}

parts="ways cnn_small lstm_small parity cnn_large lstm_large lstm_bf16 pipeline ours torch job"
case ${1:-} in
  all) for name in $parts; do part "$name"; done ;;
  list) echo "$parts" ;;
  *) part "${1:-}" ;;
esac
