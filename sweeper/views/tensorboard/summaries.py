"""Build TensorBoard's event messages without torch or TensorFlow; pure functions.

Scalars and images have the form that `torch.utils.tensorboard` writes, which every reader of event files supports.
HParams: TensorBoard keeps the first start and the first end of a run, so the end is written only after the trial has
ended (`tensorboard/plugins/hparams/backend_context.py`).
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

from sweeper.record.trial import State

# A pruned trial did not complete, so it counts as a failure. TensorBoard shows running trials as "unknown".
STATUS: Mapping[State, int] = {
    State.COMPLETE: api_pb2.STATUS_SUCCESS,
    State.PRUNED: api_pb2.STATUS_FAILURE,
    State.FAIL: api_pb2.STATUS_FAILURE,
}


def file_version(time: float) -> Event:
    """Return the first event of an event file."""
    return Event(wall_time=time, file_version="brain.Event:2")


def session_start(step: int, time: float) -> Event:
    """Return the event that makes TensorBoard drop what was logged at `step` and after it."""
    return Event(wall_time=time, step=step, session_log=SessionLog(status=SessionLog.START))


def scalars(values: Mapping[str, float], step: int, time: float) -> Event:
    """Return an event with one value of each named curve."""
    listed = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return Event(wall_time=time, step=step, summary=Summary(value=listed))


def image(tag: str, png: bytes, *, step: int, time: float) -> Event:
    """Return an event with a PNG picture."""
    width, height = struct.unpack_from(">II", png, 16)  # their position in the header of a PNG
    picture = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
    return Event(wall_time=time, step=step, summary=Summary(value=[Summary.Value(tag=tag, image=picture)]))


def text(tag: str, markdown: str, *, step: int, time: float) -> Event:
    """Return an event with a text, which TensorBoard renders as markdown."""
    value = Summary.Value(
        tag=tag,
        metadata=text_metadata.create_summary_metadata(display_name="", description=""),
        tensor=tensor_util.make_tensor_proto([markdown.encode(errors="replace")], shape=(1,)),
    )
    return Event(wall_time=time, step=step, summary=Summary(value=[value]))


def histogram(tag: str, description: str, buckets: npt.NDArray[np.float64], *, step: int, time: float) -> Event:
    """Return an event with a histogram.

    Args:
        buckets: rows of left edge, right edge and count.
    """
    value = Summary.Value(
        tag=tag,
        metadata=histogram_metadata.create_summary_metadata(display_name=tag, description=description),
        tensor=tensor_util.make_tensor_proto(buckets),
    )
    return Event(wall_time=time, step=step, summary=Summary(value=[value]))


def layout(title: str, charts: Mapping[str, str], time: float) -> Event:
    """Return the layout of the page "Custom Scalars".

    TensorBoard merges equal charts of the layouts of all runs, so each chart shows all runs.

    Args:
        charts: for each chart title, a pattern that matches the tags of its curves.
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
    """Return the event that sets the hyperparameters of a run."""
    info = SessionStartInfo(start_time_secs=time)
    for name, value in params.items():
        _set(info.hparams[name], value)
    return _hparams(hparams_metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info), time)


def hparams_end(state: State, time: float) -> Event:
    """Return the event that ends a run."""
    info = SessionEndInfo(status=STATUS.get(state, api_pb2.STATUS_UNKNOWN), end_time_secs=time)
    return _hparams(hparams_metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info), time)


def framed(event: Event) -> bytes:
    """Return the bytes of an event in an event file."""
    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


def _hparams(tag: str, data: HParamsPluginData, time: float) -> Event:
    metadata = hparams_metadata.create_summary_metadata(data)
    value = Summary.Value(tag=tag, metadata=metadata, tensor=hparams_metadata.NULL_TENSOR)
    return Event(wall_time=time, summary=Summary(value=[value]))


def _set(field: api_pb2.google_dot_protobuf_dot_struct__pb2.Value, value: object) -> None:
    """Set a protobuf value to a parameter; anything but a bool, number or text is set to its JSON."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = value if isinstance(value, str) else json.dumps(value, default=str)
