# Shared by the experiments, which read it and give it a list; on its own it does nothing.
#
#   run_all "$@" <<'LIST'
#   NAME METHOD KEY=VALUE ...
#   LIST
#
# Each line is one `dvc exp run` of METHOD with these keys of its section of params.yaml changed; no value has spaces,
# and a line that ends in \ goes on in the next one.
# The name is FILE-NAME, with the seed where `-S seed=N` is given. Other arguments go to dvc as they are:
#
#   sh experiments/FILE.sh                     one after the other; stages that no change touches run once
#   sh experiments/FILE.sh --queue             for later: `dvc queue start --jobs 2`, `dvc queue status`
#   sh experiments/FILE.sh -S seed=1           another seed, under names of its own
#   sh experiments/FILE.sh --dry               what would run
#
# A name is used once: remove old runs with `dvc exp remove NAME`. A run that fails does not stop the others.
# Every run starts from params.yaml as it is now, which is put back after each.

cd "$(dirname "$0")/.." || exit 1
file=$(basename "$0" .sh)
before=$(mktemp)
cp params.yaml "$before"
restore() { cmp -s "$before" params.yaml || cp "$before" params.yaml; }
trap 'restore; rm -f "$before"' EXIT
trap 'exit 130' INT TERM

run_one() {
    name=$1 method=$2 keys=$3
    shift 3
    for key in $keys; do set -- -S "++methods.$method.$key" "$@"; done # ++: params.yaml may leave it out
    dvc exp run --name "$name" -S "search.method=$method" "$@"
}

run_all() {
    seed='' failed=''
    for argument; do
        case $argument in
        seed=*) seed=-$(echo "$argument" | tr = _) ;;
        esac
    done
    set -f # brackets in values are lists, not patterns of file names
    while read row by changes; do
        restore
        run_one "$file-$row$seed" "$by" "$changes" "$@" </dev/null || failed="$failed $row"
    done
    echo "Compare: dvc exp show --only-changed    make ui (MLflow)    make compare"
    if [ "$failed" ]; then
        echo "Failed:$failed" >&2
        exit 1
    fi
}
