"""Video to Keypoints and Draw Pose Video: whole films, one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .film import VideoFrames, open_video, temporary_path
from .live import LiveProgress
from .memory import PoseModel
from .models import UsesDefaultModel
from .render import poses_with_frames, shared_size
from .running import again_with_less
from .sockets import (
    advanced,
    check_interrupt,
    check_number,
    model_input,
    pose_input,
    pose_output,
    schema,
    write_poses,
)
from .track import FPS_LIMITS, fps_input

if TYPE_CHECKING:
    from ..dwpose.io.frames import Frame
    from ..dwpose.types import Boxes, People


ESTIMATE_LIMITS = (1, 8)
DETECT_LIMITS = (1, 1000)
FRAME_LIMITS = (0, 10_000_000)
BATCH_LIMITS = (0, 256)


class VideoToKeypoints(UsesDefaultModel):
    """A film in, everybody's keypoints out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "VideoToKeypoints",
            "Video to Keypoints",
            "Follows people through a video and gives the keypoints of every frame, with an id "
            "for everybody. The video is read frame by frame, so its length does not matter; the "
            "detector runs only where somebody may have come or gone, and poses that lie evenly "
            "between two others are filled in.",
            inputs=[
                io.Video.Input(
                    "video",
                    tooltip="From Load Video, or from Create Video for frames that are there "
                    "already.",
                ),
                io.Int.Input(
                    "estimate_every",
                    default=4,
                    min=ESTIMATE_LIMITS[0],
                    max=ESTIMATE_LIMITS[1],
                    tooltip="Of so many frames one is looked at; those between are filled in where "
                    "everybody moves evenly, else looked at too, from the middle on. 1 = every "
                    "frame: slower, and a little better for fast movement.",
                ),
                io.Int.Input(
                    "detect_every",
                    default=60,
                    min=DETECT_LIMITS[0],
                    max=DETECT_LIMITS[1],
                    tooltip="Look for people anew after so many frames at the latest. Otherwise "
                    "that happens at cuts, when something moves where nobody is known, and when "
                    "somebody is lost.",
                ),
                io.Int.Input(
                    "frame_limit",
                    default=0,
                    min=FRAME_LIMITS[0],
                    max=FRAME_LIMITS[1],
                    tooltip="Only so many frames from the beginning, to try something out; 0 = "
                    "the whole video.",
                ),
                advanced(shared.detector_threshold_input()),
                shared.second_look_input(),
                model_input(),
                advanced(
                    io.Int.Input(
                        "batch",
                        default=0,
                        min=BATCH_LIMITS[0],
                        max=BATCH_LIMITS[1],
                        optional=True,
                        tooltip="For a GPU: look at every frame, with the detector, and at so many "
                        "frames together, instead of following boxes; estimate_every and "
                        "detect_every do not count then. 0 = off.",
                    )
                ),
            ],
            outputs=[
                pose_output(
                    tooltip="Keypoints as a list with one OpenPose-like entry per frame, in "
                    "pixels of the frame; empty entries where nobody is. Everybody has an id.",
                ),
                io.Int.Output(
                    "frame_count", display_name="frames", tooltip="Number of frames read."
                ),
                io.Float.Output(
                    "fps",
                    display_name="fps",
                    tooltip="Frames per second; the mean where it varies.",
                ),
                io.Int.Output(
                    "people_count",
                    display_name="people",
                    tooltip="Number of different people in the video; somebody who comes back "
                    "after a cut counts anew.",
                ),
            ],
            search=("preprocessor", "mocap", "track", "movie", "mp4", "wan", "vace", "stream"),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        video: Any,
        estimate_every: int = 4,
        detect_every: int = 60,
        frame_limit: int = 0,
        detector_threshold: float = 0.3,
        second_look: bool = False,
        model: PoseModel | None = None,
        batch: int = 0,
    ) -> Any:
        """Follow frame by frame."""
        from ..dwpose.following import FollowOptions
        from ..dwpose.second_look import SecondLookOptions
        from ..dwpose.stream import make_follower

        check_number("estimate_every", estimate_every, *ESTIMATE_LIMITS)
        check_number("detect_every", detect_every, *DETECT_LIMITS)
        check_number("frame_limit", frame_limit, *FRAME_LIMITS)
        check_number("batch", batch, *BATCH_LIMITS)
        chosen = cls.choose_model(model)
        chosen.prepare()
        follower = make_follower(
            Patient(chosen, detector_threshold),
            FollowOptions(batch=batch, stride=estimate_every, detect_every=detect_every),
            SecondLookOptions() if second_look else None,
        )
        keypoints: list[dict[str, Any]] = []
        ids: set[int] = set()
        with open_video(video) as source:
            total = min(frame_limit or 10**9, source.total or 10**9)
            progress = LiveProgress(total if total < 10**9 else 1)
            for frame, people in follower.follow(islice(source.frames(), frame_limit or None)):
                keypoints += write_poses([people])
                ids.update([] if people.track_ids is None else people.track_ids.tolist())
                done = len(keypoints)
                progress.show(done, lambda f=frame, p=people: _over(f, p), max(total, done))
            fps = source.fps
        if not keypoints:
            raise ValueError("video has no frames that can be decoded; connect another one")
        return io.NodeOutput(keypoints, len(keypoints), float(fps), len(ids))


class Patient:
    """The networks of a model as `dwpose.stream` wants them, with ComfyUI's manners.

    Cancel is asked for before and after each run, and where memory is out it is tried once with
    half the batch.

    Args:
        model: the networks.
        score: people of whom the detector is less sure are left out.
    """

    def __init__(self, model: PoseModel, score: float) -> None:
        self._model, self._score = model, score
        self.detector = None if model.pipeline.detector is None else self._detect
        self.estimator = PatientEstimator(model, self._try)
        self.searches = model.pipeline.searches

    def __call__(self, images: Any, **options: Any) -> Any:
        """People of some pictures; asked for where there is no detector."""
        return self._try(lambda: self._model.pipeline(images, **options))

    def _detect(self, images: Any) -> list[Boxes]:
        detector = self._model.pipeline.detector
        assert detector is not None
        return self._try(
            lambda: detector(images, score_threshold=self._score, on_batch=check_interrupt)
        )

    def _try(self, run: Any) -> Any:
        check_interrupt()
        try:
            return run()
        except Exception as error:
            if not again_with_less(self._model, error):
                raise
            return run()


class PatientEstimator:
    """The pose network of a `Patient`, of which a second look asks more than to be called.

    Args:
        model: the networks.
        run: calls what it is given, see `Patient`.
    """

    def __init__(self, model: PoseModel, run: Callable[[Any], Any]) -> None:
        self._estimator, self._run = model.pipeline.estimator, run
        self.size_hw, self.padding = self._estimator.size_hw, self._estimator.padding

    def __call__(
        self,
        images: Any,
        boxes: Any,
        *,
        flip_test: bool | None = None,
        on_batch: Callable[[], None] | None = None,
    ) -> list[People]:
        """See `dwpose.estimator.Estimator`."""
        options: Any = {"flip_test": flip_test, "on_batch": on_batch or check_interrupt}
        return self._run(lambda: self._estimator(images, boxes, **options))


def _over(frame: Frame, people: People) -> Any:
    from ..dwpose.render import overlay

    return overlay(frame.image, people)


class DrawPoseVideo(io.ComfyNode):
    """Keypoints in, a film of their drawings out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "DrawPoseVideo",
            "Draw Pose Video",
            "Draws keypoints as a video, on black or over the video that they are of, with its "
            "sound. Frames are drawn and written one by one, so its length does not matter; Draw "
            "Pose Map gives the same as pictures. Every frame gives a frame.",
            inputs=[
                pose_input(),
                fps_input(),
                shared.style_input(),
                *shared.size_inputs(),
                *shared.part_inputs(),
                io.Boolean.Input(
                    "over_video",
                    default=False,
                    tooltip="Draw over the frames of the connected video instead of on black.",
                ),
                *shared.threshold_inputs(of_keypoints=True),
                advanced(
                    io.Int.Input(
                        "crf",
                        default=18,
                        min=0,
                        max=51,
                        tooltip="Quality of the video: 0 = lossless and large, 18 = looks so, 28 "
                        "= small.",
                    )
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The video that the keypoints are of: its frame times, for which fps "
                    "does not count then, its sound, and its frames with over_video. Keypoints of "
                    "a single frame are drawn on all of its frames.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    "pose_video",
                    display_name="VIDEO",
                    tooltip="The drawings as a video, H.264 in a file of ComfyUI's temp folder; "
                    "Save Video keeps it. Odd sizes get one more row or column.",
                ),
            ],
            search=("render", "stick figure", "mp4", "wan animate", "overlay", "stream"),
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        fps: float = 24.0,
        style: str = "dwpose",
        size: str = "as input",
        resolution: int = 1024,
        width: int = 1024,
        height: int = 1024,
        body: bool = True,
        hands: bool = True,
        face: bool = True,
        feet: bool = True,
        over_video: bool = False,
        body_threshold: float = shared.STYLES_OWN,
        hand_threshold: float = shared.STYLES_OWN,
        face_threshold: float = shared.STYLES_OWN,
        feet_threshold: float = shared.STYLES_OWN,
        crf: int = 18,
        video: Any = None,
    ) -> Any:
        """Draw and write frame by frame."""
        from contextlib import nullcontext

        from comfy_api.latest import InputImpl  # pyright: ignore[reportMissingImports]

        parts = shared.Parts(
            body, hands, face, feet, body_threshold, hand_threshold, face_threshold, feet_threshold
        )
        drawing = parts.as_kept(pose_keypoint).draw_options(style)
        check_number("fps", fps, *FPS_LIMITS)
        if over_video and video is None:
            raise ValueError("over_video needs a video; connect the one that the keypoints are of")
        poses = poses_with_frames(pose_keypoint)
        source_hw = shared_size(poses, size)
        size_hw = shared.output_size(size, source_hw, resolution, width, height)
        path = temporary_path("mp4")
        with nullcontext() if video is None else open_video(video, with_sound=True) as source:
            write_film(path, poses, size_hw, fps, source, over_video, crf, drawing)
        return io.NodeOutput(InputImpl.VideoFromFile(path))


def write_film(
    path: str,
    poses: list[People],
    size_hw: tuple[int, int],
    fps: float,
    source: VideoFrames | None,
    over: bool,
    crf: int,
    drawing: dict[str, Any],
) -> None:
    """Draw poses into a film, one frame at a time.

    Args:
        path: of the new film.
        poses: of each frame; a single one is drawn on every frame of the source.
        size_hw: height and width of the film in pixels.
        fps: frames a second, where there is no source.
        source: what the poses are of.
        over: draw over its frames.
        crf: quality.
        drawing: keyword arguments of `render.draw_pose_map`.

    Raises:
        ValueError: the source has fewer frames than there are poses.
        InterruptProcessingException: the user cancelled; nothing is left behind.
    """
    from ..dwpose.io.film import FilmWriter
    from ..dwpose.io.frames import TICK
    from ..dwpose.render import draw_pose_map, overlay
    from .render import resized

    sound, count, shown = None, len(poses), iter(poses)
    if source is not None and count == 1:
        count, shown = source.total or 1, repeat(poses[0])
    if source is not None:
        # Sound of the whole would go on after a piece of the pictures; totals are estimates, and
        # where sound ends half a second later nobody minds.
        rest = 0 if source.total is None else source.total - count
        sound = source.audio if rest <= max(0.5 * source.fps, 0.02 * count) else None
    progress = LiveProgress(count)
    frames = None if source is None else source.frames()
    rate, base = (fps, TICK) if source is None else (source.fps, source.time_base)
    with FilmWriter(path, size_hw, base, rate, sound, crf) as writer:
        for index, people in enumerate(shown):
            frame = None if frames is None else next(frames, None)
            if frames is not None and frame is None:
                if index and len(poses) == 1:
                    break
                raise ValueError(
                    f"video has {index} frames and pose_keypoint {len(poses)}; connect the video "
                    "that the keypoints are of"
                )
            if over and frame is not None:
                picture = overlay(resized(frame.image, size_hw), people, **drawing)
            else:
                picture = draw_pose_map(people, size_hw, **drawing)
            writer.add(picture, round(index / fps / base) if frame is None else frame.ticks)
            progress.show(index + 1, lambda made=picture: made, max(count, index + 1))
