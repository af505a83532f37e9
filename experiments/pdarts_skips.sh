#!/bin/sh
# P-DARTS, section 3.3: skip connections that the normal cell may keep (M); null sets no limit.
# Published CIFAR-10 error: 2.50 % with M = 2.
# The searches of the six runs are equal, but each is run: DVC sees that the method's section has changed.
# 6 runs: on the default preset minutes each, on presets/cifar10.yaml days of GPU each.

. "$(dirname "$0")/run.sh"

run_all "$@" <<'LIST'
most-0   pdarts most_skips=0
most-1   pdarts most_skips=1
most-2   pdarts most_skips=2
most-3   pdarts most_skips=3
most-4   pdarts most_skips=4
no_limit pdarts most_skips=null
LIST
