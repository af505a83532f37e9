#!/bin/sh
# DA2S, Table 2: how the weight of the whole penalty (lambda_c) rises, with lambda_1 and lambda_2 const.
# Published CIFAR-10 error: none 2.76 (DARTS, second order), const 2.64, log 2.56, exp 2.78, step 2.60, linear 2.54 %.
# Factors are those of params.yaml (released code); the paper's text has 1 for all.
# 6 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
none   da2s lambda_c.factor=0 lambda_1={control:const,delayed:false} lambda_2={control:const,delayed:false}
const  da2s lambda_c.control=const lambda_1={control:const,delayed:false} lambda_2={control:const,delayed:false}
log    da2s lambda_c.control=log lambda_1={control:const,delayed:false} lambda_2={control:const,delayed:false}
exp    da2s lambda_c.control=exp lambda_1={control:const,delayed:false} lambda_2={control:const,delayed:false}
step   da2s lambda_c.control=step lambda_1={control:const,delayed:false} lambda_2={control:const,delayed:false}
linear da2s lambda_c.control=linear lambda_1={control:const,delayed:false} lambda_2={control:const,delayed:false}
LIST
