#!/bin/sh
# EC-DARTS: its two ideas, cross-edge normalisation (cen) and induced structural transition (ist), on and off, and the
# choices that its released code leaves open. Published CIFAR-10 error: 2.39 % with both; no table of parts is known.
# Without both the method is DARTS with this method's batch size and epochs.
# 7 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
cen-ist       ecdarts cen=true ist=true ist_arch_steps=true parse_on=normalised arch_gradient=first_order
cen           ecdarts cen=true ist=false ist_arch_steps=true parse_on=normalised arch_gradient=first_order
ist           ecdarts cen=false ist=true ist_arch_steps=true parse_on=normalised arch_gradient=first_order
neither       ecdarts cen=false ist=false ist_arch_steps=true parse_on=normalised arch_gradient=first_order
no_arch_steps ecdarts cen=true ist=true ist_arch_steps=false parse_on=normalised arch_gradient=first_order
parse_raw     ecdarts cen=true ist=true ist_arch_steps=true parse_on=raw arch_gradient=first_order
second_order  ecdarts cen=true ist=true ist_arch_steps=true parse_on=normalised arch_gradient=unrolled
LIST
