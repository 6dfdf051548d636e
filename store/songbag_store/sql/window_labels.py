"""The view `window_labels`: which labels the windows of songs carry, made of the segments of the songs."""

from __future__ import annotations

import pyarrow as pa

from songbag_store.format.index import SEGMENTS, SEGMENTS_TYPE
from songbag_store.format.spec import FeatureSpec

SHARE_DIGITS = 9
"""Decimals of a share: so the halves of a window are equal, though 0.96 + 0.48 is not 1.44 in binary."""

_NONE = """
create view window_labels as select null::varchar as song_id, null::bigint as "window", null::double as start_s,
    null::double as end_s, null::varchar as label, null::double as share where false
"""
# The end of a window that was padded is that of its song.
_OF_SEGMENTS = """
create view window_labels as
with segment as (
    select song_id, n_windows, duration_s, unnest(segments, recursive := true) from songs where len(segments) > 0
), piece as (
    select song_id, label, "window", start_s as segment_start_s, end_s as segment_end_s, "window" * {hop_s} as begin_s,
        case when n_windows = 1 then least({window_s}, duration_s) else {window_s} end as length_s
    from segment, unnest(range(
        least(n_windows, greatest(0, floor((start_s - {window_s}) / {hop_s})))::bigint,
        least(n_windows, ceil(end_s / {hop_s}))::bigint
    )) as windows("window")
)
select song_id, "window", begin_s as start_s, begin_s + {window_s} as end_s, label,
    round(least(
        1.0, sum(least(segment_end_s, begin_s + length_s) - greatest(segment_start_s, begin_s)) / any_value(length_s)
    ), {digits}) as share
from piece where least(segment_end_s, begin_s + length_s) > greatest(segment_start_s, begin_s)
group by song_id, "window", begin_s, label
having share > 0
"""


def window_labels_view(schema: pa.Schema, spec: FeatureSpec | None) -> str:
    """Return the statement that makes the view, from an index with this schema; the view is empty without segments."""
    position = schema.get_field_index(SEGMENTS)
    if spec is None or position < 0 or not schema.field(position).type.equals(SEGMENTS_TYPE):
        return _NONE
    times = {"window_s": spec.window_samples, "hop_s": spec.window_hop_samples}
    texts = {name: f"{n / spec.sample_rate_hz!r}::double" for name, n in times.items()}
    return _OF_SEGMENTS.format(**texts, digits=SHARE_DIGITS)
