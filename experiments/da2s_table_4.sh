#!/bin/sh
# DA2S, Table 4: fewer than 8 of the 14 edges kept, after DA2S and after DARTS.
# Published CIFAR-10 error in % at 6, 5, 4, 3 edges: DA2S 2.64, 2.72, 2.94, 3.67; DARTS 2.91, 3.23, 4.79, 5.83; and
# supernet accuracy before and after cutting: DA2S 85.63 -> 85.42 at 4 edges, DARTS 87.87 -> about 10 at each.
# The supernets of the DARTS runs are equal: their accuracy after cutting to every target is in the list `policies`
# of data/discretize/discretize.json after any one of them; only the retraining needs all four.
# 8 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
da2s-6  da2s kept_edges=6
da2s-5  da2s kept_edges=5
da2s-4  da2s kept_edges=4
da2s-3  da2s kept_edges=3
darts-6 darts kept_edges=6
darts-5 darts kept_edges=5
darts-4 darts kept_edges=4
darts-3 darts kept_edges=3
LIST
