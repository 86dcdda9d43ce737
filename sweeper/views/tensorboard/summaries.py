"""TensorBoard's event messages, made without torch or TensorFlow; pure functions.

Scalars and images are written in the form of `torch.utils.tensorboard`, which every reader of event files knows.
HParams: the first start and the first end that TensorBoard finds in a run are final, so an end is written once the
trial has ended (`tensorboard/plugins/hparams/backend_context.py`).
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from sweeper.record.fold import State

# A pruned trial has not done what it set out to do. "Unknown" is what TensorBoard calls a trial that still runs.
STATUS: Mapping[State, int] = {
    State.COMPLETE: api_pb2.STATUS_SUCCESS,
    State.PRUNED: api_pb2.STATUS_FAILURE,
    State.FAIL: api_pb2.STATUS_FAILURE,
}


def file_version(time: float) -> Event:
    """What an event file begins with."""
    return Event(wall_time=time, file_version="brain.Event:2")


def session_start(step: int, time: float) -> Event:
    """Tells TensorBoard that what was seen at `step` and after it no longer stands."""
    return Event(wall_time=time, step=step, session_log=SessionLog(status=SessionLog.START))


def scalars(values: Mapping[str, float], step: int, time: float) -> Event:
    """One point of each named curve."""
    listed = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return Event(wall_time=time, step=step, summary=Summary(value=listed))


def image(tag: str, png: bytes, *, step: int, time: float) -> Event:
    """A PNG picture."""
    width, height = struct.unpack_from(">II", png, 16)  # where the header of a PNG has them
    picture = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
    return Event(wall_time=time, step=step, summary=Summary(value=[Summary.Value(tag=tag, image=picture)]))


def text(tag: str, markdown: str, *, step: int, time: float) -> Event:
    """A text, which TensorBoard renders as markdown."""
    value = Summary.Value(
        tag=tag,
        metadata=text_metadata.create_summary_metadata(display_name="", description=""),
        tensor=tensor_util.make_tensor_proto([markdown.encode(errors="replace")], shape=(1,)),
    )
    return Event(wall_time=time, step=step, summary=Summary(value=[value]))


def histogram(tag: str, description: str, buckets: npt.NDArray[np.float64], *, step: int, time: float) -> Event:
    """A histogram of rows of left edge, right edge and count."""
    value = Summary.Value(
        tag=tag,
        metadata=histogram_metadata.create_summary_metadata(display_name=tag, description=description),
        tensor=tensor_util.make_tensor_proto(buckets),
    )
    return Event(wall_time=time, step=step, summary=Summary(value=[value]))


def layout(title: str, charts: Mapping[str, str], time: float) -> Event:
    """Which curves the page "Custom Scalars" draws together, all runs in each: patterns of tags, by the chart's title.

    TensorBoard shows the layouts of all runs; charts that are equal are one.
    """
    drawn = [
        layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=[pattern]))
        for name, pattern in charts.items()
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title=title, chart=drawn)])
    value = Summary.Value(
        tag=layout_metadata.CONFIG_SUMMARY_TAG,
        metadata=layout_metadata.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(layout.SerializeToString(), shape=()),
    )
    return Event(wall_time=time, summary=Summary(value=[value]))


def hparams_start(params: Mapping[str, object], time: float) -> Event:
    """The parameters of the run that this event stands in."""
    info = SessionStartInfo(start_time_secs=time)
    for name, value in params.items():
        _set(info.hparams[name], value)
    return _hparams(hparams_metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info), time)


def hparams_end(state: State, time: float) -> Event:
    """How the run ended."""
    info = SessionEndInfo(status=STATUS.get(state, api_pb2.STATUS_UNKNOWN), end_time_secs=time)
    return _hparams(hparams_metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info), time)


def framed(event: Event) -> bytes:
    """The bytes of an event in an event file."""
    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


def _hparams(tag: str, data: HParamsPluginData, time: float) -> Event:
    metadata = hparams_metadata.create_summary_metadata(data)
    value = Summary.Value(tag=tag, metadata=metadata, tensor=hparams_metadata.NULL_TENSOR)
    return Event(wall_time=time, summary=Summary(value=[value]))


def _set(field: api_pb2.google_dot_protobuf_dot_struct__pb2.Value, value: object) -> None:
    """Put a parameter into a protobuf Value; what is no bool, number or text becomes its JSON."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = value if isinstance(value, str) else json.dumps(value, default=str)
