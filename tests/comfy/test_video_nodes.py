"""Video to Keypoints and Draw Pose Video: files, and frames in memory, one at a time."""

from __future__ import annotations

import io as bytes_io
import sys
import weakref
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

av = pytest.importorskip("av")

FPS = 24


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.video")


@pytest.fixture(scope="module")
def impl(pack) -> Any:
    return sys.modules["comfy_api.latest"].InputImpl  # pyright: ignore[reportAttributeAccessIssue]


def frames_of(picture, count: int) -> torch.Tensor:
    """Somebody who walks to the right."""
    return torch.cat([picture((20 + i, 20, 60 + i, 100)) for i in range(count)])


@pytest.fixture
def memory_video(impl, picture):
    def make(count: int = 10, audio: Any = None) -> Any:
        parts = SimpleNamespace(
            images=frames_of(picture, count), frame_rate=Fraction(FPS), audio=audio
        )
        return impl.VideoFromComponents(parts)

    return make


@pytest.fixture(scope="session")
def film_file(tmp_path_factory, picture) -> Path:
    """Twelve frames with uneven times, and sound."""
    path = tmp_path_factory.mktemp("films") / "walk.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width = stream.height = 128
        stream.pix_fmt, stream.options = "yuv444p", {"crf": "1"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac", rate=8000, layout="mono")
        for i, image in enumerate(frames_of(picture, 12).numpy()):
            frame = av.VideoFrame.from_ndarray(np.rint(image * 255).astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = 40 * i + (7 if i % 3 == 1 else 0), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), "fltp", "mono")
        quiet.sample_rate, quiet.pts = 8000, 0
        out.mux(sound.encode(quiet))
        out.mux(sound.encode(None))
    return path


def film_times(path: str) -> list[int]:
    with av.open(path) as found:
        return sorted(
            round(float(frame.pts * frame.time_base) * 1000) for frame in found.decode(video=0)
        )


def film_frames(path: str) -> list[np.ndarray]:
    with av.open(path) as found:
        return [frame.to_ndarray(format="rgb24") for frame in found.decode(video=0)]


# --- Video to Keypoints ------------------------------------------------------------------------


def test_frames_in_memory_are_followed(node, pack, make_model, memory_video):
    keypoints, count, fps, people = node.VideoToKeypoints.execute(
        memory_video(), model=make_model()
    ).args
    found = pack("nodes.sockets").read_poses(keypoints)
    assert (count, fps, people, len(found)) == (10, FPS, 1, 10)
    lefts = [f.keypoints[0, :, 0].min() for f in found]
    assert np.allclose(lefts, 20 + np.arange(10), atol=2.5)
    assert all(f.track_ids.tolist() == [0] and f.image_hw == (128, 128) for f in found)


def test_the_detector_rests_and_frames_between_are_filled(node, make_model, memory_video):
    model = make_model()
    asked: list[int] = []
    find = model.pipeline.detector.session
    model.pipeline.detector.session = lambda images: asked.append(len(images)) or find(images)
    node.VideoToKeypoints.execute(memory_video(20), estimate_every=4, model=model)
    assert len(asked) <= 3
    assert sum(model.pipeline.estimator.session.asked) < 20


@pytest.mark.parametrize("batch", [0, 4])
def test_a_second_look_is_taken(node, pack, make_model, memory_video, monkeypatch, batch):
    module = pack("dwpose.second_look")

    def find_looks(people, size_hw, options, picture, padding):
        assert (size_hw, padding) == (model.pipeline.estimator.size_hw, 1.25)
        return [module.Look(picture, 0, "face", (20, 20, 60, 100), 40.0)]

    # The stand-in's hands are as large as its people, so that none would be looked at again.
    monkeypatch.setattr(module, "find_looks", find_looks)
    crops = []
    for second_look in (False, True):
        model = make_model()
        keypoints, *_ = node.VideoToKeypoints.execute(
            memory_video(), second_look=second_look, batch=batch, model=model
        ).args
        assert [len(frame["people"]) for frame in keypoints] == [1] * 10
        crops.append(sum(model.pipeline.estimator.session.asked))
    assert crops[1] > crops[0]


def test_a_batch_looks_at_every_frame(node, pack, make_model, memory_video, management):
    model = make_model()
    asked: list[int] = []
    find = model.pipeline.detector.session
    model.pipeline.detector.session = lambda images: asked.append(len(images)) or find(images)
    keypoints, count, _, people = node.VideoToKeypoints.execute(
        memory_video(10), model=model, batch=4
    ).args
    assert (sum(asked), sum(model.pipeline.estimator.session.asked)) == (10, 10)
    assert (len(keypoints), count, people) == (10, 10, 1)
    # Cancel is asked for after each run of a network, not only between batches.
    asked.clear()

    def cancelled(images):
        management.interrupted = len(asked) == 2
        asked.append(len(images))
        return find(images)

    model.pipeline.detector.session = cancelled
    with pytest.raises(management.InterruptProcessingException):
        node.VideoToKeypoints.execute(memory_video(10), model=model, batch=10)
    assert asked == [1, 1, 1]


def test_a_file_is_streamed(node, make_model, impl, film_file):
    video = impl.VideoFromFile(str(film_file))
    video.get_components = lambda: pytest.fail("all frames at once")
    keypoints, count, _, people = node.VideoToKeypoints.execute(video, model=make_model()).args
    assert (len(keypoints), count, people) == (12, 12, 1)


def test_a_film_in_memory_leaves_no_file(node, make_model, impl, film_file, folder_paths):
    temp = Path(folder_paths.get_temp_directory())
    before = set(temp.iterdir())
    video = impl.VideoFromFile(bytes_io.BytesIO(film_file.read_bytes()))
    assert node.VideoToKeypoints.execute(video, model=make_model()).args[1] == 12
    assert set(temp.iterdir()) == before


def test_trims_of_newer_cores_are_obeyed(node, make_model, impl, film_file):
    video = impl.VideoFromFile(str(film_file))
    video.get_active_trim_window = lambda: (0.1, 0.2)
    keypoints = node.VideoToKeypoints.execute(video, estimate_every=1, model=make_model()).args[0]
    # Frames at 120 to 280 ms, 3 to 7.
    assert len(keypoints) == 5
    assert abs(keypoints[0]["people"][0]["dwpose"]["box"][0] - 23) < 4


def test_edits_of_newer_cores_are_obeyed(node, make_model, impl, memory_video):
    video = impl.VideoFromFile("/nowhere.mp4")
    video.has_pending_frame_edits = lambda: True
    video.get_components = memory_video(4).get_components
    assert node.VideoToKeypoints.execute(video, model=make_model()).args[1] == 4


def test_a_limit_ends_the_reading(node, make_model, memory_video):
    assert node.VideoToKeypoints.execute(memory_video(), frame_limit=3, model=make_model()).args[
        1
    ] == (3)


def test_only_a_few_frames_are_in_memory(node, pack, make_model, memory_video, monkeypatch):
    """Both ways: what comes in, and what is drawn over."""
    film, count = pack("nodes.film"), 60
    alive, most = set(), 0

    class Counted(film.VideoFrames):
        def frames(self):
            nonlocal most
            for number, frame in enumerate(super().frames()):
                alive.add(number)
                weakref.finalize(frame.image, alive.discard, number)
                most = max(most, len(alive))
                yield frame

    monkeypatch.setattr(film, "VideoFrames", Counted)
    pose = node.VideoToKeypoints.execute(memory_video(count), model=make_model()).args[0]
    assert len(pose) == count
    assert 1 <= most <= 8
    most = 0
    node.DrawPoseVideo.execute(pose, over_video=True, video=memory_video(count))
    assert 1 <= most <= 3


def test_progress_and_pictures(node, make_model, memory_video, progress_bar):
    node.VideoToKeypoints.execute(memory_video(), model=make_model())
    assert [done for done, _ in progress_bar.shown] == list(range(1, 11))
    assert {total for _, total in progress_bar.shown} == {10}
    assert progress_bar.previews[0] == ("JPEG", (128, 128), 512)


@pytest.mark.parametrize(("width", "shown"), [(512 * 8, 1), (512 * 8 + 8, 0)])
def test_a_picture_too_thin_to_be_made_small_is_not_shown(node, poses, progress_bar, width, shown):
    # ComfyUI's server ends on a preview without height.
    size = {"size": "width x height", "width": width, "height": 8}
    progress_bar.previews.clear()
    node.DrawPoseVideo.execute(poses[:1], **size)
    assert len(progress_bar.previews) == shown


def test_cancel_ends_within_a_frame(node, make_model, memory_video, management):
    model = make_model()
    management.interrupt_after = 8
    with pytest.raises(management.InterruptProcessingException):
        node.VideoToKeypoints.execute(memory_video(40), estimate_every=1, model=model)
    assert len(model.pipeline.estimator.session.asked) <= 8


def test_little_memory_is_tried_once_with_half(node, make_model, memory_video, management):
    model = make_model()
    batch = model.pipeline.estimator.batch_size
    model.pipeline.estimator.session.fail = [management.OOM_EXCEPTION("no memory")]
    assert node.VideoToKeypoints.execute(memory_video(4), model=model).args[1] == 4
    assert model.pipeline.estimator.batch_size == batch // 2


def test_what_is_no_video_is_told(node, make_model, impl, tmp_path):
    with pytest.raises(TypeError, match="video must be a VIDEO"):
        node.VideoToKeypoints.execute("film.mp4", model=make_model())
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    with pytest.raises(ValueError, match="not a film"):
        node.VideoToKeypoints.execute(impl.VideoFromFile(str(text)), model=make_model())
    for name, value in (("frame_limit", -1), ("estimate_every", 0), ("detect_every", 0)):
        with pytest.raises(ValueError, match=rf"{name} must be from \d+ to \d+, got {value}$"):
            node.VideoToKeypoints.execute(None, model=make_model(), **{name: value})
    empty = SimpleNamespace(images=torch.zeros(0, 8, 8, 3), frame_rate=Fraction(1), audio=None)
    with pytest.raises(ValueError, match="no frames"):
        node.VideoToKeypoints.execute(impl.VideoFromComponents(empty), model=make_model())


# --- Draw Pose Video ---------------------------------------------------------------------------


@pytest.fixture
def poses(node, make_model, impl, film_file):
    video = impl.VideoFromFile(str(film_file))
    return node.VideoToKeypoints.execute(video, estimate_every=1, model=make_model()).args[0]


def test_drawings_become_a_film_in_temp(node, poses, folder_paths, impl):
    [video] = node.DrawPoseVideo.execute(poses, fps=10.0).args
    assert isinstance(video, impl.VideoFromFile)
    assert Path(video.file).parent == Path(folder_paths.get_temp_directory())
    assert film_times(video.file) == [100 * i for i in range(12)]
    frames = film_frames(video.file)
    assert frames[0].shape == (128, 128, 3)
    assert all(frame.max() > 150 for frame in frames)
    assert frames[0][:15].max() < 30


def test_size_and_switches_are_obeyed(node, poses):
    [video] = node.DrawPoseVideo.execute(
        poses, size="width x height", width=64, height=200, hands=False, face=False, body=False
    ).args
    frames = film_frames(video.file)
    assert frames[0].shape == (200, 64, 3)
    assert max(frame.max() for frame in frames) < 30


def test_times_sound_and_pictures_of_the_video_are_taken(node, poses, impl, film_file):
    source = impl.VideoFromFile(str(film_file))
    [video] = node.DrawPoseVideo.execute(poses, fps=5.0, over_video=True, video=source).args
    assert film_times(video.file) == film_times(str(film_file))
    with av.open(video.file) as found:
        assert len(found.streams.audio) == 1
    # The white rectangle of the source is behind the drawing.
    assert film_frames(video.file)[0][60, 30:50].mean() > 120
    [plain] = node.DrawPoseVideo.execute(poses, video=source).args
    assert film_frames(plain.file)[0][60, 30:50].mean() < 60


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_sound_of_frames_in_memory_is_taken(node, poses, memory_video, folder_paths, channels):
    temp = Path(folder_paths.get_temp_directory())
    before = set(temp.iterdir())
    tone = torch.sin(torch.arange(8000 * 12 / FPS) * 0.3).expand(1, channels, -1)
    audio = {"waveform": tone, "sample_rate": 8000}
    source = memory_video(12, audio)
    [video] = node.DrawPoseVideo.execute(poses, over_video=True, video=source).args
    with av.open(video.file) as found:
        [track] = found.streams.audio
        heard = np.concatenate([f.to_ndarray().ravel() for f in found.decode(track)])
        assert heard.std() > 0.05
    assert len(film_frames(video.file)) == 12
    assert set(temp.iterdir()) - before == {Path(video.file)}


def test_sound_is_left_out_for_a_piece(node, poses, impl, film_file):
    source = impl.VideoFromFile(str(film_file))
    [video] = node.DrawPoseVideo.execute(poses[:2], video=source).args
    assert len(film_frames(video.file)) == 2
    with av.open(video.file) as found:
        assert len(found.streams.audio) == 0


def test_a_single_pose_is_drawn_on_every_frame(node, poses, impl, film_file, memory_video):
    source = impl.VideoFromFile(str(film_file))
    [video] = node.DrawPoseVideo.execute(poses[:1], video=source).args
    assert film_times(video.file) == film_times(str(film_file))
    assert all(frame.max() > 150 for frame in film_frames(video.file))
    with av.open(video.file) as found:
        assert len(found.streams.audio) == 1
    [one] = node.DrawPoseVideo.execute(poses[:1], video=memory_video(1)).args
    assert len(film_frames(one.file)) == 1


def test_a_video_that_is_too_short_is_told_and_leaves_no_file(
    node, poses, memory_video, folder_paths
):
    temp = Path(folder_paths.get_temp_directory())
    before = set(temp.iterdir())
    with pytest.raises(ValueError, match="video has 4 frames and pose_keypoint 12"):
        node.DrawPoseVideo.execute(poses, video=memory_video(4))
    with pytest.raises(ValueError, match="fps must be from"):
        node.DrawPoseVideo.execute(poses, fps=0.0)
    with pytest.raises(ValueError, match="over_video needs a video"):
        node.DrawPoseVideo.execute(poses, over_video=True)
    assert set(temp.iterdir()) == before


def test_cancel_leaves_no_film(node, poses, management, folder_paths):
    temp = Path(folder_paths.get_temp_directory())
    before = set(temp.iterdir())
    management.interrupt_after = management.checks + 40
    with pytest.raises(management.InterruptProcessingException):
        node.DrawPoseVideo.execute(poses * 20)
    assert set(temp.iterdir()) == before
