#!/bin/sh
# Every method of params.yaml as it stands there, under one protocol: the table of gaps over methods.
# Published CIFAR-10 error: DARTS 3.00 / 2.76, PC-DARTS 2.57, P-DARTS 2.50, DA2S 2.51, EC-DARTS 2.39, random 3.05 %.
# One run for every section under methods: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

# The keys under `methods:`, which stand two spaces in; each is the name of its run, too.
methods=$(sed -n '/^methods:/,/^[^ #]/s/^  \([a-z][a-z0-9_]*\):.*/\1 \1/p' params.yaml)

run_all "$@" <<LIST
$methods
LIST
