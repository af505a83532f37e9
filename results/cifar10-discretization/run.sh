#!/bin/sh
# Train the supernets and cut them; needs params.yaml of this folder in the project's root, and CIFAR-10.
set -eu
python -m stages.prepare
for run in da2s:8 darts:8 da2s:4; do # da2s:5, da2s:6 and da2s:3 are the other targets of the table
    method=${run%:*} edges=${run#*:}
    sed -i "s/method: [a-z0-9]*,/method: $method,/; s/kept_edges: [0-9]/kept_edges: $edges/" params.yaml
    python -m stages.search
    python -m stages.discretize
    mkdir -p runs/$method-$edges
    cp data/search/search.json data/discretize/discretize.json runs/$method-$edges/
done
