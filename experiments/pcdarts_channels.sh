#!/bin/sh
# PC-DARTS: one K-th of the channels through the candidates, with the edge weights of the method and without (the same
# parts and settings under `custom`). Published CIFAR-10 error: 2.57 % at K = 4 with edge weights.
# K = 1 with the paper's batch of 256 needs several times the memory of K = 4; K must divide search.channels.
# 6 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

# Everything else of methods.pcdarts, as `custom` has it.
parts='relax={operations:softmax,edges:none} penalty={entropy:null,zero_one:0.0,beta_decay:0.0} passes=[soft]'
choice='arch_gradient=first_order discretize={kept_edges:8,rank:product,most_skips:null}'
length='phases=[{epochs:${methods.pcdarts.epochs},warmup:${methods.pcdarts.warmup}}]'
batch='batch_size=${methods.pcdarts.batch_size}'
rates='weights.lr=${methods.pcdarts.weights.lr} weights.lr_min=0.0 architecture.lr=${methods.pcdarts.architecture.lr}'
same="$parts $choice $length $batch $rates"

run_all "$@" <<LIST
k1          pcdarts channel_divisor=1
k2          pcdarts channel_divisor=2
k4          pcdarts channel_divisor=4
k1-no_edges custom mixed_op.channel_divisor=1 $same
k2-no_edges custom mixed_op.channel_divisor=2 $same
k4-no_edges custom mixed_op.channel_divisor=4 $same
LIST
