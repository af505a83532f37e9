#!/bin/sh
# DA2S, Table 3: one of lambda_1 (operations) and lambda_2 (edges) const, the other 0 until epoch 8 and then rising;
# lambda_c linear. Published CIFAR-10 error in %, mean of several searches:
# lambda_1 = 1, lambda_2 by const 2.74, linear 2.57, exp 2.53, step 2.54, log 2.64;
# lambda_2 = 1, lambda_1 by const 2.56, linear 2.68, exp 2.60, step 2.57, log 2.51 (best 2.42: the method's default).
# 10 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
edges-const       da2s lambda_c.control=linear lambda_1={control:const,delayed:false} \
    lambda_2={control:const,delayed:true}
edges-linear      da2s lambda_c.control=linear lambda_1={control:const,delayed:false} \
    lambda_2={control:linear,delayed:true}
edges-exp         da2s lambda_c.control=linear lambda_1={control:const,delayed:false} \
    lambda_2={control:exp,delayed:true}
edges-step        da2s lambda_c.control=linear lambda_1={control:const,delayed:false} \
    lambda_2={control:step,delayed:true}
edges-log         da2s lambda_c.control=linear lambda_1={control:const,delayed:false} \
    lambda_2={control:log,delayed:true}
operations-const  da2s lambda_c.control=linear lambda_1={control:const,delayed:true} \
    lambda_2={control:const,delayed:false}
operations-linear da2s lambda_c.control=linear lambda_1={control:linear,delayed:true} \
    lambda_2={control:const,delayed:false}
operations-exp    da2s lambda_c.control=linear lambda_1={control:exp,delayed:true} \
    lambda_2={control:const,delayed:false}
operations-step   da2s lambda_c.control=linear lambda_1={control:step,delayed:true} \
    lambda_2={control:const,delayed:false}
operations-log    da2s lambda_c.control=linear lambda_1={control:log,delayed:true} \
    lambda_2={control:const,delayed:false}
LIST
