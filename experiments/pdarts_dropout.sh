#!/bin/sh
# P-DARTS, section 3.3: dropout on skip connections by phase as in the paper, as in the released README and none, each
# with the limit of two skips in the normal cell and without. The paper: the limit helps only on top of the dropout.
# Published CIFAR-10 error: 2.50 % with both. For three phases, as in all presets.
# 6 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
paper-limit     pdarts skip_dropout=[0.0,0.4,0.7] most_skips=2
paper-no_limit  pdarts skip_dropout=[0.0,0.4,0.7] most_skips=null
readme-limit    pdarts skip_dropout=[0.1,0.4,0.7] most_skips=2
readme-no_limit pdarts skip_dropout=[0.1,0.4,0.7] most_skips=null
none-limit      pdarts skip_dropout=[0.0,0.0,0.0] most_skips=2
none-no_limit   pdarts skip_dropout=[0.0,0.0,0.0] most_skips=null
LIST
