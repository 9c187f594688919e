#!/bin/bash
# A search on the GPUs of this machine: `vitscape search` starts a Ray for itself and ends it.
#
#     deploy/one_box/run.sh hybrid_224 --study birds --trials 500 --data folder:/data/birds --precision fp16
#
# The words are those of `vitscape search`. The same command continues the study, whatever ended it: Ctrl-C, kill -9, a
# reboot. SHARE=0.25 lets four trials share a GPU.
#
# To leave it running: in tmux, or as a unit of this user that begins again after a failure,
#
#     systemd-run --user --unit birds --same-dir -p Restart=on-failure -p RestartSec=60 -p KillMode=mixed \
#         -p KillSignal=SIGINT deploy/one_box/run.sh hybrid_224 --study birds --trials 500
#     journalctl --user --unit birds --follow     # what it prints; `loginctl enable-linger` lets it outlive your login
#
# Tried: on CPU (SHARE=0 CORES=1, --device cpu --workers 2), killed with -9 and continued. Not tried: GPUs, systemd-run.
set -euo pipefail

VENV=${VENV:-$(dirname "$0")/../../.venv}
RUNS=${RUNS:-$PWD/runs}  # on a local disk: SQLite does not belong on NFS
SHARE=${SHARE:-1}        # of a GPU, for each trial
CORES=${CORES:-2}        # for each trial: augmentation and launching kernels take more than one
mkdir -p "$RUNS"

# The Ray that is started listens on this machine's addresses and lets in whoever has its token, ~/.ray/auth_token.
export RAY_AUTH_MODE=token
unset RAY_ADDRESS  # else the search would go to that cluster

# Options given on the command line come last, and win.
exec "$VENV/bin/vitscape" search --engine ray --storage "$RUNS/vitscape.db" \
    --gpus-per-trial "$SHARE" --cpus-per-trial "$CORES" "$@"
