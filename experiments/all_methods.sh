#!/bin/sh
# Every method of params.yaml as it stands there, under one protocol: the table of gaps over methods.
# Published CIFAR-10 error: DARTS 3.00 / 2.76, PC-DARTS 2.57, P-DARTS 2.50, DA2S 2.51, EC-DARTS 2.39, random 3.05 %.
# 14 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
darts      darts
pcdarts    pcdarts
pdarts     pdarts
da2s       da2s
ecdarts    ecdarts
fairdarts  fairdarts
betadarts  betadarts
dartsminus dartsminus
dartsplus  dartsplus
gdas       gdas
drnas      drnas
sdarts     sdarts
random     random
custom     custom
LIST
