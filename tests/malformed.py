"""Files that are no architecture and no search space, and what the error must say.

Used twice: on the readers, and on the command line, where each has exit status 2.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Malformed:
    """One file and its error."""

    id: str
    content: str | bytes
    fragments: tuple[str, ...]  # of the message: the field, the value, the way out
    line: int | None  # where the message must say that it is wrong; None where no line can be named
    suffix: str = ".yaml"

    def write(self, folder: Path) -> Path:
        """The file, in a folder."""
        path = folder / f"malformed{self.suffix}"
        path.write_bytes(self.content if isinstance(self.content, bytes) else self.content.encode())
        return path


ARCHITECTURE = """\
format: vitscape/architecture@1
name: small
image_size: 32
in_channels: 3
classes: 10
drop_path: 0.1
stem: {kind: patch, stride: 4}
stages:
  - width: 48
    depth: 2
    mixer: {kind: window, size: 4, shift: 2, heads: 3}
    ffn_ratio: 4.0
    norm: layer
    activation: gelu
  - width: 64
    depth: 1
    downsample: patch_merging
    mixer: {kind: single_head, partial_ratio: 0.25, qk_dim: 8}
head: {norm: layer}
"""

SPACE = """\
format: vitscape/space@1
name: small
image_size: [32, 48]
classes: 10
stem:
  - {kind: patch, stride: [2, 4]}
  - {kind: conv, stride: 4}
stages:
  - width: [16, 24]
    depth: {from: 1, to: 5, step: 2}
    mixer:
      - {kind: window, size: [2, 4], shift: [0, half], heads: [1, 2]}
      - {kind: single_head, partial_ratio: [0.25, 0.5]}
    local: [true, false]
  - width: 32
    depth: [0, 1]
    downsample: [patch_merging, inverted_residual]
    mixer: {kind: global, heads: [1, 2]}
head: {norm: [layer, batch]}
"""

PARTIAL = "partial_ratio: 0.25"


def _change(template: str):
    def change(id_: str, old: str, new: str, *fragments: str, below: int = 0) -> Malformed:
        """The template with the first `old` replaced; wrong in the first line that differs, or some lines below."""
        assert old in template, old
        start = template.index(old)
        text = template[:start] + new + template[start + len(old) :]
        return Malformed(id_, text, fragments, text[:start].count("\n") + 1 + below)

    return change


_arch, _space = _change(ARCHITECTURE), _change(SPACE)

BOMB = "format: {format}\nstages:\n" + "\n".join(
    f"  - &x{i} [{', '.join([f'*x{i - 1}'] * 10) if i else 'x, x, x, x, x, x, x, x, x, x'}]"
    for i in range(6)  # a million nodes
)

MALFORMED_ARCHITECTURES = [
    # fields and kinds
    _arch("unknown_field", "heads: 3", "haeds: 3", "stages.0.mixer.haeds", "did you mean heads?"),
    _arch("unknown_field_of_nothing", "depth: 2", "temperature: 2", "stages.0.temperature", "use one of width, depth"),
    _arch("unknown_top_field", "classes: 10", "clases: 10", "clases", "did you mean classes?"),
    _arch("field_of_another_kind", "size: 4", "kernel: 4", "stages.0.mixer.kernel", "not known"),
    _arch("unknown_mixer", "kind: window", "kind: windw", "mixer.kind", "'windw'", "did you mean window?"),
    _arch("unknown_stem", "kind: patch", "kind: overlap", "stem.kind", "'overlap'", "patch, conv"),
    _arch("kind_a_number", "kind: window", "kind: 3", "mixer.kind", "3 is not known", "window, global"),
    _arch("kind_missing", "kind: window, ", "", "stages.0.mixer", "`kind` is missing", "window, global"),
    _arch("mixer_a_word", "{kind: patch, stride: 4}", "patch", "stem", "{kind: patch}"),
    _arch("mixer_null", "{kind: single_head, partial_ratio: 0.25, qk_dim: 8}", "null", "stages.1.mixer", "None"),
    _arch("head_a_word", "{norm: layer}", "layer", "head", "'layer'", "mapping"),
    # what is missing or too much
    _arch("image_size_missing", "image_size: 32\n", "", "image_size", "missing", below=-2),
    _arch("stem_missing", "stem: {kind: patch, stride: 4}\n", "", "stem", "missing", below=-6),
    _arch("width_missing", "width: 48\n    ", "", "stages.0.width", "missing"),
    _arch(
        "mixer_missing", "mixer: {kind: window, size: 4, shift: 2, heads: 3}\n    ", "", "mixer", "missing", below=-2
    ),
    _arch(
        "first_downsample", "depth: 2", "depth: 2\n    downsample: patch_merging", "stages.0.downsample", "out", below=1
    ),
    _arch("downsample_missing", "downsample: patch_merging\n    ", "", "stages.1", "use patch_merging or", below=-2),
    _arch("downsample_unknown", "patch_merging", "max_pool", "stages.1.downsample", "'max_pool'", "'patch_merging'"),
    _arch("partial_twice", PARTIAL, PARTIAL + ", partial_channels: 8", "stages.1.mixer", "keep one"),
    _arch(
        "no_stages", ARCHITECTURE[ARCHITECTURE.index("stages:") : -20], "stages: []\n", "stages", "0 stages", "1 to 16"
    ),
    _arch("stages_a_mapping", "stages:\n  - width: 48", "stages:\n    width: 48", "not valid YAML", below=7),
    _arch(
        "stages_a_word", ARCHITECTURE[ARCHITECTURE.index("stages:") : -20], "stages: four\n", "stages", "'four'", "list"
    ),
    _arch("stage_a_number", "stages:\n", "stages:\n  - 3\n", "stages.0", "3 is not a mapping", below=1),
    _arch("stage_a_list", "- width: 48", "- - width: 48", "not valid YAML", below=1),
    Malformed(
        "seventeen_stages",
        "format: vitscape/architecture@1\nimage_size: 32\nstem: {kind: patch}\nstages:\n"
        + "".join(
            f"  - {{width: 8, depth: 1, mixer: {{kind: none}}{', downsample: patch_merging' if i else ''}}}\n"
            for i in range(17)
        ),
        ("stages", "17 stages", "1 to 16"),
        5,
    ),
    # values
    _arch("width_negative", "width: 48", "width: -48", "stages.0.width", "-48", "greater than or equal to 1"),
    _arch("width_zero", "width: 48", "width: 0", "stages.0.width", "0 is not allowed"),
    _arch("width_huge", "width: 48", "width: 1000000000", "stages.0.width", "65536"),
    _arch("width_boolean", "width: 48", "width: true", "stages.0.width", "True", "integer"),
    _arch("width_a_word", "width: 48", "width: wide", "stages.0.width", "'wide'", "integer"),
    _arch("width_quoted", "width: 48", "width: '48'", "stages.0.width", "'48'", "integer"),
    _arch("width_fractional", "width: 48", "width: 48.5", "stages.0.width", "48.5", "integer"),
    _arch("width_null", "width: 48", "width: null", "stages.0.width", "None", "integer"),
    _arch("width_a_date", "width: 48", "width: 2024-01-01", "stages.0.width", "integer"),
    _arch("width_of_5000_digits", "width: 48", "width: " + "9" * 5000, "stages.0.width", "999..."),
    _arch("width_a_list", "width: 48", "width: [48, 64]", "stages.0.width", "[48, 64]", "vitscape/space@1"),
    _arch("width_a_range", "width: 48", "width: {from: 16, to: 64, step: 16}", "stages.0.width", "'from': 16"),
    _arch("depth_zero", "depth: 2", "depth: 0", "stages.0.depth", "0 is not allowed"),
    _arch("depth_zero_later", "depth: 1", "depth: 0", "stages.1.depth", "0 is not allowed"),
    _arch("depth_huge", "depth: 2", "depth: 5000", "stages.0.depth", "5000", "256"),
    _arch("image_size_zero", "image_size: 32", "image_size: 0", "image_size", "0 is not allowed"),
    _arch("image_size_a_pair", "image_size: 32", "image_size: [32, 48]", "image_size", "[32, 48]"),
    _arch("classes_huge", "classes: 10", "classes: 1.0e+9", "classes", "1000000000.0", "integer"),
    _arch("stride_no_power", "stride: 4", "stride: 6", "stem.stride", "6 is not allowed", "2, 4, 8 or 16"),
    _arch("stride_boolean", "stride: 4", "stride: on", "stem.stride", "True", "2, 4, 8 or 16"),
    _arch("heads_divide_nothing", "heads: 3", "heads: 5", "mixer.heads", "heads=5", "width=48", "1, 2, 3, 4, 6"),
    _arch("heads_zero", "heads: 3", "heads: 0", "stages.0.mixer.heads", "0 is not allowed"),
    _arch("shift_equal_to_size", "shift: 2", "shift: 4", "mixer.shift", "shift=4", "size=4", "0 to 3"),
    _arch("shift_negative", "shift: 2", "shift: -1", "stages.0.mixer.shift", "-1", "half"),
    _arch("shift_a_word", "shift: 2", "shift: quarter", "stages.0.mixer.shift", "'quarter'", "half"),
    _arch("shift_boolean", "shift: 2", "shift: true", "stages.0.mixer.shift", "True", "half"),
    _arch("size_zero", "size: 4", "size: 0", "stages.0.mixer.size", "0 is not allowed"),
    _arch("bias_a_number", "heads: 3", "heads: 3, relative_position_bias: 1", "relative_position_bias", "1", "boolean"),
    _arch("partial_ratio_above_one", "0.25", "1.5", "stages.1.mixer.partial_ratio", "1.5", "equal to 1"),
    _arch("partial_ratio_zero", "0.25", "0", "stages.1.mixer.partial_ratio", "0 is not allowed"),
    _arch("partial_above_width", PARTIAL, "partial_channels: 65", "partial_channels=65", "width=64", "1 to 64"),
    _arch("ffn_ratio_nan", "ffn_ratio: 4.0", "ffn_ratio: .nan", "stages.0.ffn_ratio", "nan", "finite"),
    _arch("ffn_ratio_infinite", "ffn_ratio: 4.0", "ffn_ratio: .inf", "stages.0.ffn_ratio", "inf"),
    _arch("ffn_ratio_a_word", "ffn_ratio: 4.0", "ffn_ratio: 4x", "stages.0.ffn_ratio", "'4x'", "number"),
    _arch("ffn_ratio_boolean", "ffn_ratio: 4.0", "ffn_ratio: true", "stages.0.ffn_ratio", "True", "number"),
    _arch("drop_path_one", "drop_path: 0.1", "drop_path: 1.0", "drop_path", "1.0", "less than 1"),
    _arch("drop_path_nan", "drop_path: 0.1", "drop_path: .nan", "drop_path", "nan"),
    _arch("norm_unknown", "norm: layer\n    ", "norm: group\n    ", "stages.0.norm", "'group'", "'layer' or 'batch'"),
    _arch(
        "norm_as_yaml_boolean", "norm: layer\n    ", "norm: no\n    ", "stages.0.norm", "False", "'layer' or 'batch'"
    ),
    _arch("activation_unknown", "gelu", "swish", "stages.0.activation", "'swish'", "'gelu' or 'relu'"),
    _arch("local_a_word", "depth: 2", "local: maybe\n    depth: 2", "stages.0.local", "'maybe'", "boolean"),
    _arch("name_a_number", "name: small", "name: 3", "name", "3", "string"),
    _arch("published_a_number", "name: small", "published: 81.2", "published", "81.2", "top1, source"),
    _arch("published_nan", "name: small", "published: {top1: .nan, source: x}", "published.top1", "nan"),
    # the format
    _arch("format_missing", "format: vitscape/architecture@1\n", "", "`format` is missing", "begin the file with"),
    _arch("format_of_tomorrow", "architecture@1", "architecture@2", "format", "architecture@2", "architecture@1"),
    _arch("format_a_list", "vitscape/architecture@1", "[vitscape/architecture@1]", "format", "not known"),
    Malformed("a_space", SPACE, ("format", "vitscape/space@1", "reads vitscape/architecture@1"), 1),
    Malformed("a_list", "- 1\n- 2\n", ("mapping", "format: vitscape/architecture@1"), 1),
    Malformed("a_word", "swin", ("mapping", "format: vitscape/architecture@1"), 1),
    # YAML
    Malformed("empty", "", ("empty", "format:"), None),
    Malformed("only_a_comment", "# nothing\n", ("empty", "format:"), None),
    Malformed("null", "null\n", ("mapping", "format:"), 1),
    Malformed("two_documents", ARCHITECTURE + "---\n" + ARCHITECTURE, ("not valid YAML", "single document"), 20),
    Malformed("binary", b"\x80\x03}q\x00X\x05\x00", ("UTF-8", "expected a YAML or JSON file"), None),
    Malformed("utf_16", ARCHITECTURE.encode("utf-16"), ("UTF-8",), None),
    Malformed("null_bytes", "format: \x00\n", ("not valid YAML",), None),
    Malformed("too_long", "# " + "x" * 1_000_001 + "\n" + ARCHITECTURE, ("1000000 bytes",), None),
    _arch("tab", "    depth: 2", "\tdepth: 2", "not valid YAML", "\\t"),
    _arch("bracket_left_open", "{kind: patch, stride: 4}", "{kind: patch, stride: 4", "not valid YAML", below=1),
    _arch("wrong_indentation", "    depth: 2", "      depth: 2", "not valid YAML"),
    _arch("duplicate_key", "depth: 2", "depth: 2\n    depth: 3", "depth", "appears twice", below=1),
    _arch("python_object", "{kind: patch", "!!python/object:os.system {kind: patch", "stem", "python/object", "remove"),
    _arch(
        "python_apply", "depth: 2", "depth: !!python/object/apply:os.system ['true']", "depth", "python/object/apply"
    ),
    _arch("python_name", "depth: 2", "depth: !!python/name:os.system x", "depth", "python/name", "remove it"),
    _arch("unknown_tag", "depth: 2", "depth: !blocks 2", "stages.0.depth", "!blocks", "remove it"),
    _arch("tag_that_lies", "depth: 2", "depth: !!bool maybe", "stages.0.depth", "'maybe'", "!!bool"),
    _arch("tag_of_nothing", "depth: 2", "depth: !!int ''", "stages.0.depth", "''", "!!int"),
    _arch("undefined_alias", "depth: 2", "depth: *blocks", "not valid YAML", "blocks"),
    _arch("merge_key", "depth: 2", "<<: {depth: 2}", "<<", "write the fields out"),
    _arch("mapping_as_key", "depth: 2", "? {a: b}\n    : 2", "plain word"),
    _arch(
        "key_with_a_line_break", "depth: 2", '"de\\npth": 2\n    depth: 2', "stages.0.de\\npth", "did you mean depth?"
    ),
    _arch("number_as_key", "depth: 2", "7: 2\n    depth: 2", "stages.0.7", "use one of"),
    Malformed("bomb", BOMB.format(format="vitscape/architecture@1"), ("too large",), 3),
    Malformed("recursion", "format: vitscape/architecture@1\nstages: &s [*s]\n", ("too deeply nested",), 2),
    Malformed("nested_deeply", "stages: " + "[" * 5000 + "]" * 5000, ("nested deeper",), None),
    # JSON
    Malformed("json_trailing_comma", '{"format": "vitscape/architecture@1",\n}', ("not valid JSON",), 2, ".json"),
    Malformed("json_single_quotes", "{'format': 1}", ("not valid JSON", "double quotes"), 1, ".json"),
    Malformed("json_cut_off", '{"format":\n "vitscape/archit', ("not valid JSON",), 2, ".json"),
    Malformed("json_empty", "", ("empty", "format:"), None, ".json"),
    Malformed("json_yaml_inside", ARCHITECTURE, ("not valid JSON",), 1, ".json"),
    Malformed("json_duplicate_key", '{"format": 1, "format": 2}', ("format", "appears twice"), None, ".json"),
    Malformed(
        "json_nan",
        '{"format": "vitscape/architecture@1", "image_size": NaN, "stem": {"kind": "patch"}, "stages": []}',
        ("image_size", "nan", "integer"),
        None,
        ".json",
    ),
    Malformed("json_5000_digits", '{"classes": ' + "9" * 5000 + "}", ("999...", "too large"), None, ".json"),
    Malformed("json_nested_deeply", "[" * 100_000, ("nested",), None, ".json"),
]

MALFORMED_SPACES = [
    _space("unknown_field", "depth: {from", "dept: {from", "stages.0.dept", "did you mean depth?"),
    _space("unknown_field_of_an_alternative", "heads: [1, 2]", "haeds: [1, 2]", "stages.0.mixer.0.haeds", "heads?"),
    _space("unknown_mixer", "kind: window", "kind: windw", "stages.0.mixer.0.kind", "'windw'", "did you mean window?"),
    _space(
        "list_of_kinds", "kind: window", "kind: [window, global]", "mixer.0.kind", "['window', 'global']", "window,"
    ),
    _space("kind_missing", "kind: global, ", "", "stages.1.mixer", "`kind` is missing", "window, global"),
    _space("mixer_a_word", "{kind: global, heads: [1, 2]}", "global", "stages.1.mixer", "{kind: global}"),
    _space("mixers_as_words", "{kind: global, heads: [1, 2]}", "[global, conv]", "stages.1.mixer.0", "{kind: global}"),
    _space("no_mixers", "{kind: global, heads: [1, 2]}", "[]", "stages.1.mixer", "nothing to choose"),
    _space("no_widths", "[16, 24]", "[]", "stages.0.width", "nothing to choose"),
    _space(
        "no_stems", "  - {kind: patch, stride: [2, 4]}\n  - {kind: conv, stride: 4}\n", "  []\n", "stem", "nothing to"
    ),
    _space("width_negative", "[16, 24]", "[16, -24]", "stages.0.width.1", "-24", "greater than or equal to 1"),
    _space("width_zero", "[16, 24]", "[0, 24]", "stages.0.width.0", "0 is not allowed"),
    _space("width_boolean", "[16, 24]", "[16, true]", "stages.0.width.1", "True", "integer"),
    _space("width_twice", "[16, 24]", "[16, 24, 16]", "stages.0.width.2", "16", "listed twice"),
    _space("width_null", "[16, 24]", "[16, null]", "stages.0.width.1", "None", "integer"),
    _space("widths_in_a_list", "[16, 24]", "[[16, 24]]", "stages.0.width.0", "[16, 24]", "integer"),
    _space("width_a_range_in_a_list", "[16, 24]", "[{from: 1, to: 2, step: 1}]", "stages.0.width.0", "integer"),
    _space("width_huge", "[16, 24]", "[16, 100000]", "stages.0.width.1", "100000", "65536"),
    _space("ratio_nan", "[0.25, 0.5]", "[0.25, .nan]", "stages.0.mixer.1.partial_ratio.1", "nan"),
    _space("ratio_twice_in_another_spelling", "[0.25, 0.5]", "[1, 0.5, 1.0]", "partial_ratio.2", "1.0", "listed twice"),
    _space(
        "range_empty", "{from: 1, to: 5, step: 2}", "{from: 5, to: 1, step: 2}", "stages.0.depth", "from 5 to 1", "`to`"
    ),
    _space("range_does_not_reach", "to: 5", "to: 6", "stages.0.depth", "does not reach 6", "the last is 5"),
    _space("range_backwards", "step: 2}", "step: -2}", "stages.0.depth", "by -2", "`step` > 0"),
    _space(
        "range_without_step", ", step: 2}", "}", "stages.0.depth", "a range is written {from: 16, to: 64, step: 16}"
    ),
    _space("range_misspelt", "to: 5", "upto: 5", "stages.0.depth", "a range is written"),
    _space("range_step_zero", "step: 2}", "step: 0}", "stages.0.depth", "by 0", "`step` > 0"),
    _space("range_boolean", "from: 1", "from: true", "stages.0.depth.from", "True", "a range is written"),
    _space("range_of_words", "from: 1", "from: one", "stages.0.depth.from", "'one'", "a range is written"),
    _space("range_infinite", "to: 5", "to: .inf", "stages.0.depth.to", "inf"),
    _space("range_too_long", "to: 5, step: 2", "to: 60001, step: 1", "stages.0.depth", "larger step"),
    _space("range_beyond_the_limit", "to: 5, step: 2", "to: 401, step: 100", "stages.0.depth", "301", "256"),
    _space("range_of_fractions", "step: 2}", "step: 0.5}", "stages.0.depth", "1.0", "integer"),
    _space("range_for_words", "[true, false]", "{from: 0, to: 1, step: 1}", "stages.0.local", "0 is not allowed"),
    _space(
        "range_of_strides", "stride: 4}", "stride: {from: 2, to: 8, step: 2}}", "stem.1.stride", "6", "2, 4, 8 or 16"
    ),
    _space(
        "heads_divide_nothing",
        "heads: [1, 2]}\nhead",
        "heads: [3, 5]}\nhead",
        "stages.1.mixer.heads",
        "heads=3, 5",
        "32",
    ),
    Malformed(
        "shift_above_every_size",
        SPACE.replace("{kind: global, heads: [1, 2]}", "{kind: window, size: [2, 4], shift: [4, 5], heads: 2}"),
        ("stages.1.mixer.shift", "shift=4, 5", "size=2, 4", "half"),
        18,
    ),
    Malformed(
        "partial_above_every_width",
        SPACE.replace("{kind: global, heads: [1, 2]}", "{kind: single_head, partial_channels: [33, 40]}"),
        ("stages.1.mixer.partial_channels", "33, 40", "at most the width"),
        18,
    ),
    Malformed(
        "nothing_possible_together",
        SPACE.replace("{kind: global, heads: [1, 2]}", "[{kind: global, heads: 5}, {kind: global, heads: 7}]"),
        ("stages.1.mixer", "heads=5", "width=32"),
        18,
    ),
    _space("partial_twice", "partial_ratio: [", "partial_channels: 8, partial_ratio: [", "partial_ratio", "keep one"),
    _space("first_depth_zero", "{from: 1, to: 5, step: 2}", "[0, 1]", "stages.0.depth.0", "0 is not allowed"),
    _space(
        "first_range_from_zero", "{from: 1, to: 5, step: 2}", "{from: 0, to: 4, step: 2}", "stages.0.depth", "0 is not"
    ),
    _space("depth_boolean_zero", "[0, 1]", "[false, 1]", "stages.1.depth.0", "False", "integer"),
    _space(
        "first_downsample", "local:", "downsample: patch_merging\n    local:", "stages.0.downsample", "leave it out"
    ),
    _space(
        "downsample_missing",
        "    downsample: [patch_merging, inverted_residual]\n",
        "",
        "stages.1",
        "use patch",
        below=-2,
    ),
    _space("downsample_null", "inverted_residual]", "null]", "stages.1", "downsample is missing", below=-2),
    _space("downsample_unknown", "inverted_residual]", "max_pool]", "stages.1.downsample.1", "'max_pool'"),
    _space("image_size_missing", "image_size: [32, 48]\n", "", "image_size", "is missing", below=-2),
    _space("width_missing", "width: 32\n    ", "", "stages.1.width", "is missing"),
    _space("norm_unknown", "[layer, batch]", "[layer, group]", "head.norm.1", "'group'"),
    _space("stride_unknown", "[2, 4]}", "[2, 3]}", "stem.0.stride.1", "3", "2, 4, 8 or 16"),
    _space("stage_a_number", "stages:\n", "stages:\n  - 3\n", "stages.0", "3 is not a mapping", below=1),
    _space("alternative_stage_a_word", "stages:\n", "stages:\n  - [big, small]\n", "stages.0.0", "'big'", below=1),
    _space("no_stages", SPACE[SPACE.index("stages:") : -29], "stages: []\n", "stages", "0 stages", "1 to 16"),
    _space("stages_a_mapping", SPACE[SPACE.index("stages:") : -29], "stages: {width: 3}\n", "stages", "list of stages"),
    Malformed("seventeen_stages", SPACE[: SPACE.index("  - width")] + "  - {}\n" * 17, ("17 stages", "1 to 16"), 9),
    _space("name_a_list", "name: small", "name: [small, large]", "name", "string"),
    _space("description_a_number", "name: small", "description: 3", "description", "3", "string"),
    _space("format_of_tomorrow", "space@1", "space@2", "format", "space@2", "vitscape/space@1"),
    _space("format_missing", "format: vitscape/space@1\n", "", "`format` is missing", "vitscape/space@1"),
    _space("duplicate_key", "local:", "width: 8\n    local:", "width", "appears twice"),
    _space("tab", "    local", "\tlocal", "not valid YAML"),
    _space("python_object", "{kind: global", "!!python/object:os.system {kind: global", "stages.1.mixer", "remove it"),
    _space("merge_key", "width: 32", "<<: {width: 32}", "<<", "write the fields out"),
    Malformed("empty", "", ("empty",), None),
    Malformed("a_list", "- 1\n", ("mapping", "format: vitscape/space@1"), 1),
    Malformed("binary", bytes(range(128, 256)), ("UTF-8",), None),
    Malformed("bomb", BOMB.format(format="vitscape/space@1"), ("too large",), 3),
    Malformed("recursion", "format: vitscape/space@1\nstages: &s [*s]\n", ("too deeply nested",), 2),
    Malformed("json_trailing_comma", '{"format": "vitscape/space@1",\n}', ("not valid JSON",), 2, ".json"),
    Malformed("json_duplicate_key", '{"format": 1, "format": 2}', ("format", "appears twice"), None, ".json"),
]
