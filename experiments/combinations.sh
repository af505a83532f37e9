#!/bin/sh
# Parts of different papers in one search, by `custom`; nothing is published on these.
#
# cen-entropy       EC-DARTS' normalisation over edges, DA2S' entropy of the operations
# channels-induced  PC-DARTS, EC-DARTS' induced pass
# depth-cen         P-DARTS' phases and limit of skips, EC-DARTS' normalisation
# entropy-induced   DA2S, EC-DARTS' induced pass
# everything        all of them
#
# Epochs and depths of the phases are methods.pdarts', the channel divisor is methods.pcdarts'.
# 5 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

length='epochs:${methods.pdarts.epochs},warmup:${methods.pdarts.warmup}'
first='{'$length',cells:${methods.pdarts.cells.0},keep:5,skip_dropout:0.0}'
second='{'$length',cells:${methods.pdarts.cells.1},keep:3,skip_dropout:0.4}'
third='{'$length',cells:${methods.pdarts.cells.2},skip_dropout:0.7}'
deeper="phases=[$first,$second,$third]"
some='mixed_op.channel_divisor=${methods.pcdarts.channel_divisor}'
all=mixed_op.channel_divisor=1
seven=none=false

run_all "$@" <<LIST
cen-entropy      custom relax={operations:cross_edge,edges:none} penalty.entropy={lambda_2:{factor:0.0}} $seven \
    $all passes=[soft] discretize={rank:product,most_skips:null}
channels-induced custom relax={operations:softmax,edges:softmax} penalty.entropy=null \
    $some passes=[soft,induced] discretize={rank:product,most_skips:null}
depth-cen        custom relax={operations:cross_edge,edges:none} penalty.entropy=null $deeper \
    $all passes=[soft] discretize={rank:product,most_skips:2}
entropy-induced  custom relax={operations:sharpened_softmax,edges:clipped_softmax} penalty.entropy={count_weight:0.2} \
    $seven $all passes=[soft,induced] discretize={rank:edge,most_skips:null}
everything       custom relax={operations:cross_edge,edges:clipped_softmax} penalty.entropy={count_weight:0.2} \
    $seven $deeper $some passes=[soft,induced] discretize={rank:edge,most_skips:2}
LIST
