"""The weight of each feature, with its reason. Pure.

The values are round on purpose. Over hundreds of settings, tuned ones were no better on repositories that they
were not tuned on; what helps is another feature. `make bench-search` shows what the ranking is worth without each
of them, and what it is worth on a repository that had no part in choosing them (docs/search.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """The constants of the ranking. Points are added to a fused score from 0 to 1; factors multiply the sum."""

    lexical_share: float = 0.5
    """The lexical arm's share of the fused score; the vector arm has the rest."""

    lexical_share_for_name: float = 0.8
    """The same for a query of a single name: the lexical arm knows it, the vector arm guesses from its parts."""

    type_definition: float = 1.0
    """Points for a chunk that defines a type which the query names: most often the very place that is meant."""

    name_definition: float = 0.6
    """The same for functions and constants, whose names are more often common words."""

    reexports: float = 0.5
    """The same for a re-exported name: the next best place, and the best one if it comes from another package."""

    plain_word: float = 0.2
    """Factor for these three where the query's word does not look like code: `request` may be an English word."""

    partial_definition: float = 0.5
    """Points for all of the query's terms in the names that a chunk defines; rare terms count more."""

    spelled_type: float = 0.5
    """Points for a type whose name is words of the query in a row: "JSON object" is about `JsonObject`, and less
    so about every other name with one of these words."""

    spelled_name: float = 0.3
    """The same for functions and constants."""

    spelled_file: float = 0.2
    """The same for a file, besides `file_name`."""

    coverage: float = 0.3
    """Points for all of the query's terms in a chunk: ten times one term is not as good as each of them once."""

    file_name: float = 0.4
    """Points for a file name all of whose terms the query holds: files are named after what they are about."""

    folder: float = 0.2
    """The same for folders, which are about many things."""

    non_source: float = 0.4
    """Factor for tests, examples, vendored code and prose, which repeat the words of the code in question."""

    platform: float = 0.7
    """Factor for what is written once more for Windows or a rare system: of such twins the general one, or that
    of Unix, is the one that people read."""

    declarations: float = 0.7
    """Factor for type stubs and headers of types (`.pyi`, `.pxd`, `.d.ts`): the names without the code."""

    file_boost: float = 0.5
    """Points for a file's best chunk, times the sum of the file's best chunks relative to that of the best file: a
    file that answers in many places is more likely the subject."""

    file_boost_chunks: int = 5
    """How many of a file's chunks are summed: more would favour long files."""

    part_share: float = 0.5
    """Share of the sums of `SqlMapper.Async.cs` and `engine/configuration.rb` that counts for `SqlMapper.cs` and
    `engine.rb`, whose parts they are: what is asked of the whole stands in the whole."""

    repeat_decay: float = 0.5
    """Factor for each further chunk of a file that is listed already: ten places in one file are one answer,
    unless the file is nearly all there is."""

    repeat_floor: float = 0.4
    """The least of these factors, that of `non_source`: a further place in code is not below a place in prose."""


DEFAULT = Weights()
