"""Mistakes in params.yaml, each a small edit of the smoke preset, and what must be said of it."""

# ruff: noqa: E501 -- a table reads best with a case a row

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """Replace ``old`` by ``new``; the message then matches, on the line where ``at`` (or ``new``) stands."""

    name: str
    old: str
    new: str
    message: str
    at: str = ""


EDITS = (
    Edit("unknown key", "snapshots: 3", "snapshot: 3", r"search\.snapshot: unknown key; did you mean 'snapshots'\?"),
    Edit("unknown key, nothing near", "seed: 0", "seed: 0\nzzzz: 1", r"zzzz: unknown key; known are seed, device", "zzzz"),
    Edit("a supernet without end", "channels: 2, cells: 3, nodes: 2", "channels: 2, cells: 1000, nodes: 32",
         r"search\.nodes: cells, edges and candidates make 4,480,000 operations.*at most 50,000", "channels: 2, cells: 1000"),
    Edit("batches of one image", "batch_size: 40, lr: 0.1", "batch_size: 1, lr: 0.1",
         r"retrain\.training\.batch_size: must be greater than or equal to 2 \(got 1\)"),
    Edit("pieces of one image", "batch_size: 40, lr: 0.1", "batch_size: 40, pieces: 21, lr: 0.1",
         r"retrain\.training\.pieces: must leave batch norm at least 2 images of a batch of 40, so be at most 20 \(got 21\)"),
    Edit("pieces of one image in the search", "channels: 2, cells: 3, nodes", "pieces: 21, channels: 2, cells: 3, nodes",
         r"search\.pieces: must leave batch norm at least 2 images of a batch of 40, so be at most 20 \(got 21\)"),
    Edit("unknown section", "discretize:", "discretise:", r"discretise: unknown key; did you mean 'discretize'\?"),
    Edit("unknown key deep down", "batch_size: 40, lr: 0.1", "batch_sizes: 40, lr: 0.1",
         r"retrain\.training\.batch_sizes: unknown key; did you mean 'batch_size'\?"),
    Edit("unknown key of an optional section", "workers: 0", "worker: 0",
         r"transfer\.data\.worker: unknown key; did you mean 'workers'\?"),
    Edit("unknown method section", "random: {epochs", "rand: {epochs", r"methods\.rand: unknown key; did you mean 'random'"),
    Edit("word for a number", "channels: 2, cells: 3, nodes", "channels: two, cells: 3, nodes",
         r'search\.channels: must be a valid integer.* \(got "two"\)'),
    Edit("fraction for a whole number", "cells: 3, nodes", "cells: 3.5, nodes", r"search\.cells: .*integer.* \(got 3\.5\)"),
    Edit("truth for a number", "nodes: 2", "nodes: true", r"search\.nodes: .*integer \(got true\)"),
    Edit("number for a word", "tracking: none", "tracking: 5", r"tracking: must be a valid string \(got 5\)"),
    Edit("list for a number", "seed: 0", "seed: [0]", r"seed: must be a valid integer \(got \[0\]\)"),
    Edit("zero cells", "cells: 3, nodes", "cells: 0, nodes", r"search\.cells: must be greater than or equal to 3 \(got 0\)"),
    Edit("cells without end", "cells: 3, nodes", "cells: 1000000, nodes", r"search\.cells: must be less than or equal to 1000 \(got 1000000\)"),
    Edit("channels without end", "channels: 2, cells: 3, nodes", "channels: 1000000000, cells: 3, nodes", r"search\.channels: must be less than or equal to 4096 \(got 1000000000\)"),
    Edit("nodes without end", "nodes: 2", f"nodes: {10**30}", r"search\.nodes: .*less than or equal to 32 \(got 10{30}\)"),
    Edit("threads without end", "threads: 1", "threads: 1000000", r"threads: must be less than or equal to 1024 \(got 1000000\)"),
    Edit("pictures without end", "size: 32", "size: 1000000", r"transfer\.data\.size: must be less than or equal to 4096 \(got 1000000\)"),
    Edit("rate without end", "architecture: {lr: 0.1}", "architecture: {lr: 1e38}", r"methods\.darts\.architecture\.lr: must be less than or equal to 1000000 \(got 1e\+38\)"),
    Edit("negative seed", "seed: 0", "seed: -1", r"seed: must be greater than or equal to 0 \(got -1\)"),
    Edit("everything for the test", "test_fraction: 0.25\n  limit", "test_fraction: 1.0\n  limit",
         r"data\.test_fraction: must be less than 1 \(got 1\.0\)"),
    Edit("probability above one", "drop_path: 0.1", "drop_path: 1.5", r"retrain\.training\.drop_path: must be less than or equal to 1 \(got 1\.5\)"),
    Edit("two architectures to rank", "architectures: 3", "architectures: 2", r"kendall_tau\.architectures: .*equal to 3 \(got 2\)"),
    Edit("two image channels", "channels: 3\n    test_fraction", "channels: 2\n    test_fraction",
         r"transfer\.data\.channels: must be 1 or 3 \(got 2\)"),
    Edit("infinity", "architecture: {lr: 0.1}", "architecture: {lr: .inf}", r"methods\.darts\.architecture\.lr: .* \(got \"\.inf\"\)"),
    Edit("larger than a float", "architecture: {lr: 0.1}", "architecture: {lr: 1e999}",
         r"methods\.darts\.architecture\.lr: must be a finite number"),
    Edit("key given twice", "{calibration_batches: 2, ", "{calibration_batches: 2, calibration_batches: 3, ",
         r"discretize\.calibration_batches: is given twice"),
    Edit("section given twice", "seed: 0", "seed: 0\nbaseline: {architectures: 2}", r"baseline: is given twice", "baseline: {architectures: 2}\n\nev"),
    Edit("bracket never closed", "baseline: {architectures: 2}", "baseline: {architectures: 2", r"not YAML: ", "evaluate:"),
    Edit("tab for blanks", "  source: digits\n  test", "\tsource: digits\n  test", r"not YAML: .*", "\tsource"),
    Edit("yes is a word", "flip: false}\n\nsearch", "flip: yes}\n\nsearch", r'data\.augment\.flip: must be a valid boolean.*\(got "yes"\)'),
    Edit("off is a word", "flip: false}\n\nsearch", "flip: off}\n\nsearch", r'data\.augment\.flip: .*boolean.*\(got "off"\)'),
    Edit("no octal numbers", "seed: 0", "seed: 0o14", r'seed: must be a valid integer.*\(got "0o14"\)'),
    Edit("no sexagesimal numbers", "seed: 0", "seed: 1:30", r'seed: must be a valid integer.*\(got "1:30"\)'),
    Edit("no underscores in numbers", "seed: 0", "seed: 1_000", r'seed: must be a valid integer.*\(got "1_000"\)'),
    Edit("3e-4 is no whole number", "calibration_batches: 2,", "calibration_batches: 3e-4,",
         r"discretize\.calibration_batches: must be a valid integer.*\(got 0\.0003\)"),
    Edit("unknown method", "method: darts", "method: drats", r"search\.method: unknown method; did you mean 'darts'\? Known are .*random"),
    Edit("unknown operation", "nodes: 2, snapshots", "nodes: 2, candidates: [none, skip_conect], snapshots",
         r"search\.candidates: unknown operation 'skip_conect'; known are none, max_pool_3x3"),
    Edit("operation twice", "nodes: 2, snapshots", "nodes: 2, candidates: [none, skip_connect, none], snapshots",
         r"search\.candidates: an operation is listed twice"),
    Edit("nothing but none", "nodes: 2, snapshots", "nodes: 2, candidates: [none], snapshots",
         r"search\.candidates: at least one operation other than 'none'"),
    Edit("unknown space", "method: darts, channels", "method: darts, space: dart, channels",
         r"search\.space: unknown space; did you mean 'darts'\? Known are darts, s1, s2, s3, s4"),
    Edit("nodes that a space has not", "method: darts, channels", "method: darts, space: s1, channels",
         r"search\.nodes: the cells of space s1 have their own numbers; set nodes: null \(got 2\)"),
    Edit("candidates that a space has not", "nodes: 2, snapshots", "space: s2, nodes: 2, candidates: [skip_connect], snapshots",
         r"search\.candidates: space s2 has its own; leave them out, or take space darts \(got \[\"skip_connect\"\]\)"),
    Edit("more survivors than candidates", "search: {method: darts, channels: 2, cells: 3", "search: {method: pdarts, space: s3, channels: 2, cells: 3",
         r"methods\.pdarts\.survivors: must fall from the space's 3 candidates to at least 2 \(got \[5, 3\]\)", "pdarts: "),
    Edit("unknown source", "source: digits\n  test", "source: digit\n  test",
         r"data\.source: must be 'digits', 'cifar10', .*\(got \"digit\"\)"),
    Edit("unknown kind of a gradient", "darts: {epochs: 3", "darts: {arch_gradient: {kind: second}, epochs: 3",
         r"methods\.darts\.arch_gradient\.kind: must be 'first_order', 'unrolled' or 'unrolled_exact' \(got \"second\"\)"),
    Edit("gradient of no kind", "darts: {epochs: 3", "darts: {arch_gradient: {radius: 0.1}, epochs: 3",
         r"methods\.darts\.arch_gradient\.kind: is missing; must be 'first_order', 'unrolled' or 'unrolled_exact'"),
    Edit("radius of no length", "darts: {epochs: 3", "darts: {arch_gradient: {kind: unrolled, radius: 0}, epochs: 3",
         r"methods\.darts\.arch_gradient\.radius: must be greater than or equal to 0.000001 \(got 0\)"),
    Edit("temperature that float32 cannot divide by", "gdas: {epochs: 3", "gdas: {last_temperature: 1e-300, epochs: 3",
         r"methods\.gdas\.last_temperature: must be greater than or equal to 0.000001 \(got 1e-300\)"),
    Edit("decay that grows", "darts: {epochs: 3", "darts: {weights: {weight_decay: 1e6}, epochs: 3",
         r"methods\.darts\.weights\.weight_decay: must be less than or equal to 1 \(got 1000000\.0\)"),
    Edit("misspelt radius", "darts: {epochs: 3", "darts: {arch_gradient: {kind: unrolled, radios: 1}, epochs: 3",
         r"methods\.darts\.arch_gradient\.radios: unknown key; did you mean 'radius'"),
    Edit("arch_steps of no truth", "passes: [soft, induced]", "passes: [soft, {kind: induced, arch_steps: 3}]",
         r"methods\.custom\.passes\.1\.arch_steps: must be a valid boolean \(got 3\)"),
    Edit("unknown gradient", "darts: {epochs: 3", "darts: {arch_gradient: second, epochs: 3",
         r"methods\.darts\.arch_gradient: must be 'first_order', 'unrolled' or 'unrolled_exact' \(got \"second\"\)"),
    Edit("score that cannot rank samples", "search_score: inherited_val", "search_score: supernet_val",
         r"kendall_tau\.search_score: supernet_val is one number .*use inherited_val, or source: epochs \(got \"supernet_val\"\)"),
    Edit("score that cannot follow a trajectory", "mode: single_run\n  architectures: 3\n  source: sampled\n  search_score: inherited_val",
         "mode: trajectory\n  architectures: 3\n  source: epochs\n  search_score: supernet_val",
         r"kendall_tau\.search_score: a trajectory .*; use inherited_val", "search_score: supernet_val"),
    Edit("warm-up longer than the training", "drop_path: 0.1, cutout: 2", "drop_path: 0.1, warmup_epochs: 3",
         r"retrain\.training\.warmup_epochs: must be less than epochs \(3\) \(got 3\)"),
    Edit("nothing left to train on", "holdout: 0.1", "holdout: 1", r"retrain\.holdout: must be less than 1 \(got 1\)"),
    Edit("rate that rises", "drop_path: 0.1, cutout: 2", "lr_min: 0.5", r"retrain\.training\.lr_min: must be at most lr \(0\.1\) \(got 0\.5\)"),
    Edit("path of the digits", "limit: 160", "path: somewhere", r"data\.path: the digits come with scikit-learn; leave it empty"),
    Edit("folder without a path", "source: digits\n  test", "source: image_folder\n  test", r"data\.path: source image_folder needs the folder .*\(got null\)",
         "data:"),
    Edit("files without a size", "    size: 32\n", "", r"transfer\.data\.size: storage files needs the side in pixels", "  data:\n    source"),
    Edit("crop scale that falls", "[0.6, 1.0]", "[1.0, 0.6]", r"transfer\.data\.augment\.resized_crop_scale: must rise"),
    Edit("one class", "limit: 160", "classes: ['1']", r"data\.classes: at least two are needed \(got 1\)"),
    Edit("section missing", "search: {method: darts, channels: 2, cells: 3, nodes: 2, snapshots: 3, watch_every: 2}", "", r"search: is missing", "# Preset"),
    Edit("section empty", "discretize: {calibration_batches: 2, worth_images: 40}", "discretize:", r"discretize: must be .*\(got null\)"),
    Edit("section that is a list", "baseline: {architectures: 2}", "baseline: [2]", r"baseline: must be .*\(got \[2\]\)"),
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A params file of this content is refused with this message."""

    name: str
    content: bytes
    message: str


TEXTS = (
    Text("empty file", b"", r":1: must hold sections such as 'search:' \(got NoneType\)"),
    Text("only a word", b"laptop\n", r":1: must hold sections such as 'search:' \(got str\)"),
    Text("no text", b"\xff\xfe\x00\x01", r": cannot be read \(.*\); copy a file of presets/ there"),
    Text(
        "control character",
        b"seed: 0\ndevice: \x07\n",
        r":2: not YAML: holds the control character U\+0007; delete it$",
    ),
    Text("nested deep", b"seed: " + b"[" * 20_000, r":1: not YAML: nested more than 20 levels deep$"),
    Text(
        "nested deep in blocks",
        b"".join(b" " * level + b"a:\n" for level in range(300)),
        r":20: not YAML: nested more than 20 levels deep$",
    ),
    Text(
        "aliases that multiply",
        b"a0: &a0 [x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 15)),
        r":\d: a\d: aliases blow it up to more than 100000 values$",
    ),
    Text(
        "ten megabytes",
        b"# nothing\n" * 1_000_000,
        r": is larger than 256 KiB, so it holds no settings; copy a file of presets/$",
    ),
    Text("integer of 5,000 digits", b"seed: " + b"7" * 5000 + b"\n", r":1: seed: is no number \(got .{,60}\)$"),
    Text(
        "integer of 4,000 digits",
        b"seed: " + b"7" * 4000 + b"\n",
        r"(?s:.*):1: seed: must be less than 2147483648 \(got 7.{,58}7\)\n",
    ),
    Text("key that is a list", b"? [a, b]\n: 1\n", r":1: : a key must be a word$"),
    Text("key with a line break", b'"a\\nb": 1\n', r":1: a\\nb: unknown key; known are"),
    Text("two documents", b"seed: 0\n---\nseed: 1\n", r":\d+: not YAML: .*another document"),
    Text("alias of itself", b"data: &x\n  augment: *x\n", r".*data"),
    Text("number with a wrong tag", b"seed: !!int zero\n", r":1: .*seed"),
    Text("unknown anchor", b"seed: *nowhere\n", r":1: not YAML: found undefined alias"),
)
